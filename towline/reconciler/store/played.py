"""The steps of many devices at once, for rehearsals: what reports would write, without reports.

For SQLite only: lists of devices travel as one JSON parameter. Each function writes the columns
that taking in one report writes (`ingest`, `waiting`, `verification`), for many devices.
"""

from collections.abc import Collection
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

from towline.reconciler.store.inventory import intern_version
from towline.reconciler.store.tables import (
    batches,
    component_versions,
    device_components,
    device_state,
    targets,
)
from towline.reconciler.store.targets import change, move
from towline.schemas.states import BUSY_TARGETS, TargetState

NEVER_SILENT = 1 << 40
"""`last_seen` of a device that stays in touch: no clock reaches it."""


@dataclass(frozen=True, slots=True)
class Ran:
    """A release that devices ran."""

    version: str
    sha256: str
    rollback_index: int


_PENDING = targets.c.status == TargetState.PENDING.value
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
    chosen = and_(_among(devices), _PENDING, targets.c.granted_at.is_(None))
    change(connection, run_seq, chosen, prepared_at=now, deadline=now + timeout_s)


def stage(connection: Connection, run_seq: int, devices: Collection[int], now: int) -> bool:
    """The release lies on them; True when one of them waited for that."""
    chosen = and_(
        _among(devices), _PENDING, targets.c.granted_at.is_(None), targets.c.staged_at.is_(None)
    )
    return bool(change(connection, run_seq, chosen, staged_at=now, reason="Staged", deadline=None))


def fetch(
    connection: Connection, run_seq: int, devices: Collection[int], now: int, timeout_s: int
) -> None:
    """They fetched their grant."""
    chosen = and_(_among(devices), targets.c.granted_at.is_not(None))
    change(connection, run_seq, chosen, fetched_at=now, deadline=now + timeout_s)


def wait(connection: Connection, run_seq: int, devices: Collection[int], now: int) -> None:
    """They wait for a window: their deadline stands still."""
    chosen = and_(_among(devices), _PENDING, targets.c.waits == "")
    change(connection, run_seq, chosen, reason=_WAITING, waits=_WAITING, waits_since=now)


def begin(connection: Connection, run_seq: int, devices: Collection[int], now: int) -> None:
    """They begin to install, or to go back; a deadline that stood still goes on."""
    chosen = _among(devices)
    still_s = now - targets.c.waits_since
    change(
        connection,
        run_seq,
        and_(chosen, targets.c.waits != ""),
        deadline=targets.c.deadline + still_s,
        waits="",
        waits_since=None,
    )
    move(connection, run_seq, chosen, [TargetState.PENDING], TargetState.INSTALLING, reason="")


def end(
    connection: Connection,
    run_seq: int,
    devices: Collection[int],
    after: TargetState,
    reason: str,
    now: int,
) -> None:
    """They are done, one way or the other; a late success counts, too."""
    before = list(BUSY_TARGETS)
    if after is TargetState.COMPLETED:
        before.append(TargetState.FAILED)
    values: dict[str, Any] = {"reason": reason, "completed_at": now}
    if after is not TargetState.COMPLETED:
        values["deadline"] = None  # no clock of it matters any more: the index forgets it
    move(connection, run_seq, _among(devices), before, after, **values)
    if after is not TargetState.COMPLETED:
        _note_verdict(connection, run_seq, devices, now)


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
    seqs = listed(devices).subquery()
    rows = select(
        seqs.c.value, literal(component), *(literal(value) for value in values.values())
    ).where(literal(value=True))
    insert = sqlite.insert(device_components).from_select(
        ["device_seq", "component", *values], rows
    )
    index = func.max(device_components.c.rollback_index, release.rollback_index)
    connection.execute(
        insert.on_conflict_do_update(
            index_elements=["device_seq", "component"], set_={**values, "rollback_index": index}
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
    is_new = and_(
        _among(devices),
        targets.c.status == TargetState.COMPLETED.value,
        targets.c.verified_at.is_(None),
    )
    verified = change(connection, run_seq, is_new, verified_at=now, deadline=None)
    if verified:
        _note_verdict(connection, run_seq, verified, now)
    return bool(verified)


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


def _among(devices: Collection[int]) -> ColumnElement[bool]:
    return targets.c.device_seq.in_(listed(devices))


def listed(devices: Collection[int]) -> Select[tuple[int]]:
    """The devices as rows."""
    document = orjson.dumps(list(devices)).decode()
    return select(func.json_each(document).table_valued("value").c.value)
