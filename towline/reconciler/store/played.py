"""The steps of many devices at once, for rehearsals: what reports would write, without reports.

For SQLite only: lists of devices travel as one JSON parameter. Each function writes the columns
that taking in one report writes (`ingest`, `waiting`, `verification`), for many devices.
"""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    and_,
    func,
    literal,
    select,
    update,
)
from sqlalchemy.dialects import sqlite

from towline.reconciler.store import counters
from towline.reconciler.store.counters import Standing
from towline.reconciler.store.inventory import intern_version
from towline.reconciler.store.tables import (
    batches,
    component_versions,
    device_components,
    device_state,
    targets,
)
from towline.schemas.states import BUSY_TARGETS, TargetState, move_target

NEVER_SILENT = 1 << 40
"""`last_seen` of a device that stays in touch: no clock reaches it."""


@dataclass(frozen=True, slots=True)
class Ran:
    """A release that devices ran."""

    version: str
    sha256: str
    rollback_index: int


_STATUS = targets.c.status.concat("")
"""Not by its index: the devices that move are few among those in one state."""
_PENDING = _STATUS.in_([TargetState.PENDING.value])
_WAITING = "WaitingForWindow"


def see(connection: Connection, devices: Collection[int], at: int) -> None:
    """When they were last in touch."""
    connection.execute(
        update(device_state)
        .where(device_state.c.device_seq.in_(listed(devices)))
        .values(last_seen=at, seen_before=at)
    )


def prepare(
    connection: Connection, run_seq: int, devices: Collection[int], now: int, timeout_s: int
) -> None:
    """They fetched the document that lets them download ahead."""
    chosen = and_(_PENDING, targets.c.granted_at.is_(None))
    _change(connection, run_seq, devices, chosen, prepared_at=now, deadline=now + timeout_s)


def stage(connection: Connection, run_seq: int, devices: Collection[int], now: int) -> bool:
    """The release lies on them; True when one of them waited for that."""
    chosen = and_(_PENDING, targets.c.granted_at.is_(None), targets.c.staged_at.is_(None))
    values = {"staged_at": now, "reason": "Staged", "deadline": None}
    return _change(connection, run_seq, devices, chosen, **values) > 0


def wait(
    connection: Connection, run_seq: int, devices: Collection[int], now: int, timeout_s: int
) -> None:
    """They fetched their grant and wait for a window: their deadline stands still."""
    _change(
        connection,
        run_seq,
        devices,
        _PENDING,
        reason=_WAITING,
        waits=_WAITING,
        waits_since=func.coalesce(targets.c.waits_since, now),
        fetched_at=func.coalesce(targets.c.fetched_at, now),
        deadline=func.coalesce(targets.c.deadline, now + timeout_s),
    )


def begin(
    connection: Connection, run_seq: int, devices: Collection[int], now: int, timeout_s: int
) -> None:
    """They have their grant, and begin to install or to go back; a deadline that stood goes on."""
    still_s = func.coalesce(now - targets.c.waits_since, 0)
    _change(
        connection,
        run_seq,
        devices,
        _PENDING,
        status=TargetState.INSTALLING.value,
        reason="",
        fetched_at=func.coalesce(targets.c.fetched_at, now),
        deadline=func.coalesce(targets.c.deadline + still_s, now + timeout_s),
        waits="",
        waits_since=None,
    )


def end(
    connection: Connection,
    run_seq: int,
    devices: Collection[int],
    after: TargetState,
    reason: str,
    now: int,
    *,
    is_verified: bool = False,
) -> None:
    """They are done, one way or the other; a late success counts, too.

    `is_verified`: a report after `completed` shows the release already.
    """
    before = list(BUSY_TARGETS)
    values: dict[str, Any] = {"status": after.value, "reason": reason, "completed_at": now}
    if after is TargetState.COMPLETED:
        before.append(TargetState.FAILED)
    if is_verified:
        values["verified_at"] = now
    has_verdict = is_verified or after is not TargetState.COMPLETED
    if has_verdict:
        values["deadline"] = None  # no clock of it matters any more: the index forgets it
    is_before = _STATUS.in_([state.value for state in before])
    _change(connection, run_seq, devices, is_before, **values)
    if has_verdict:
        _note_verdict(connection, run_seq, devices, now)


def know_bad(connection: Connection, devices: Collection[int], component: str, sha256: str) -> None:
    """The package failed on them: it is not granted again by itself."""
    _set_component(connection, devices, component, {"known_bad": sha256}, {})


def run_release(
    connection: Connection,
    devices: Collection[int],
    component: str,
    release: Ran,
    now: int,
) -> None:
    """They run this release of the component now, and nothing below its rollback index."""
    values = {
        "version_id": intern_version(connection, component, release.version),
        "sha256": release.sha256,
        "rollback_index": release.rollback_index,
        "reported_at": now,
    }
    index = func.max(device_components.c.rollback_index, release.rollback_index)
    _set_component(connection, devices, component, values, {"rollback_index": index})


def _set_component(
    connection: Connection,
    devices: Collection[int],
    component: str,
    values: Mapping[str, Any],
    over: Mapping[str, Any],
) -> None:
    """Make a device's component as `values` say; where there is one, `over` rules."""
    seqs = listed(devices).subquery()
    rows = select(
        seqs.c.value, literal(component), *(literal(value) for value in values.values())
    ).where(literal(value=True))
    insert = sqlite.insert(device_components).from_select(
        ["device_seq", "component", *values], rows
    )
    connection.execute(
        insert.on_conflict_do_update(
            index_elements=["device_seq", "component"], set_={**values, **over}
        )
    )


def run_former(connection: Connection, run_seq: int, devices: Collection[int], now: int) -> None:
    """They run again what their targets recorded at the grant."""
    target = (
        select(component_versions.c.id, targets.c.from_sha256)
        .join(
            component_versions,
            and_(
                component_versions.c.component == targets.c.component,
                component_versions.c.version == targets.c.from_version,
            ),
        )
        .where(
            targets.c.run_seq == run_seq,
            targets.c.device_seq == device_components.c.device_seq,
            targets.c.component == device_components.c.component,
        )
        .correlate(device_components)
    )
    mine = targets.alias("mine")
    component = select(mine.c.component).where(mine.c.run_seq == run_seq).limit(1)
    connection.execute(
        update(device_components)
        .where(
            device_components.c.device_seq.in_(listed(devices)),
            device_components.c.component == component.scalar_subquery(),
        )
        .values(
            version_id=target.with_only_columns(component_versions.c.id).scalar_subquery(),
            sha256=target.with_only_columns(targets.c.from_sha256).scalar_subquery(),
            reported_at=now,
        )
    )


def verify(connection: Connection, run_seq: int, devices: Collection[int], now: int) -> bool:
    """A report after `completed` shows the release; True when one of them still lacked it."""
    is_new = and_(targets.c.status == TargetState.COMPLETED.value, targets.c.verified_at.is_(None))
    verified = _change(connection, run_seq, devices, is_new, verified_at=now, deadline=None)
    if verified:
        _note_verdict(connection, run_seq, devices, now)
    return verified > 0


def _note_verdict(connection: Connection, run_seq: int, devices: Collection[int], now: int) -> None:
    """Soak counts from here."""
    numbers = (
        select(targets.c.batch)
        .where(targets.c.run_seq == run_seq, targets.c.device_seq.in_(listed(devices)))
        .distinct()
    )
    connection.execute(
        update(batches)
        .where(batches.c.run_seq == run_seq, batches.c.number.in_(numbers))
        .values(last_verdict_at=now)
    )


def _change(
    connection: Connection,
    run_seq: int,
    devices: Collection[int],
    where: ColumnElement[bool],
    **values: Any,
) -> int:
    """Change the run's targets of these devices for which `where` is true; returns how many.

    What counts is given as plain values: then only the numbers of those that counted alike are
    read, not a row for each. Raises IllegalMove.
    """
    chosen = [targets.c.run_seq == run_seq, targets.c.device_seq.in_(listed(devices)), where]
    groups = counters.counted(connection, *chosen)
    if not groups:
        return 0
    connection.execute(update(targets).where(*chosen).values(**values))
    moved: Counter[Standing] = Counter()
    for before, n in groups.items():
        after = before.changed(values)
        if after.status != before.status:
            move_target(TargetState(before.status), TargetState(after.status))
        moved[before] -= n
        moved[after] += n
    counters.add(connection, run_seq, moved)
    return groups.total()


def listed(devices: Collection[int]) -> Select[tuple[int]]:
    """The devices as rows."""
    document = orjson.dumps(list(devices)).decode()
    return select(func.json_each(document).table_valued("value").c.value)
