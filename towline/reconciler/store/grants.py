"""What happens to single targets by decision: granted, withdrawn, deferred, timed out, skipped.

Each function returns the devices whose documents change by it.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, bindparam, case, select, true, update

from towline.reconciler.store import hints
from towline.reconciler.store.among import among
from towline.reconciler.store.tables import (
    batches,
    component_versions,
    device_components,
    edge_devices,
    targets,
)
from towline.reconciler.store.targets import change, has_no_other_active, move
from towline.schemas.states import ACTIVE_TARGETS, TargetState

ROWS_PER_STATEMENT = 5000
_UNGRANTED = {
    "granted_at": None,
    "fetched_at": None,
    "deadline": None,
    "waits": "",
    "waits_since": None,
}
_UNBEGUN = (TargetState.PENDING, TargetState.DOWNLOADING)


def slugs(connection: Connection, devices: Sequence[int]) -> list[str]:
    """The ids of devices, in order of name."""
    statement = (
        select(edge_devices.c.slug)
        .where(among(connection, edge_devices.c.seq, devices))
        .order_by(edge_devices.c.slug)
    )
    named = connection.execute(hints.by_number(statement, edge_devices))
    return list(named.scalars().all())


def grant(connection: Connection, run_seq: int, devices: Iterable[int], now: int) -> set[int]:
    """Give leave to install, and keep what each device comes from; or leave to go back there."""
    wanted, granted = list(devices), set()
    for first in range(0, len(wanted), ROWS_PER_STATEMENT):
        granted |= set(
            change(
                connection,
                run_seq,
                and_(
                    among(
                        connection,
                        targets.c.device_seq,
                        wanted[first : first + ROWS_PER_STATEMENT],
                    ),
                    targets.c.status == TargetState.PENDING.value,
                    targets.c.granted_at.is_(None),
                ),
                granted_at=now,
                started_at=now,
                deadline=None,
                reason="Granted",
                from_version=_kept_or(targets.c.from_version, component_versions.c.version),
                from_sha256=_kept_or(targets.c.from_sha256, device_components.c.sha256),
            )
        )
    return granted


def _kept_or(kept: ColumnElement[Any], installed: ColumnElement[Any]) -> ColumnElement[Any]:
    """What the target recorded, where it goes back to that; else what the device runs now."""
    now_there = (
        select(installed)
        .select_from(device_components)
        .join(component_versions, component_versions.c.id == device_components.c.version_id)
        .where(
            device_components.c.device_seq == targets.c.device_seq,
            device_components.c.component == targets.c.component,
        )
        .correlate(targets)
        .scalar_subquery()
    )
    return case((targets.c.goes_back, kept), else_=now_there)


def withdraw(connection: Connection, run_seq: int, devices: Sequence[int]) -> set[int]:
    """Take back grants that were never fetched."""
    return _withdraw(connection, run_seq, devices)


def withdraw_all(connection: Connection, run_seq: int) -> set[int]:
    """A pause: grants that have not begun to install are taken back."""
    return _withdraw(connection, run_seq, None)


def _withdraw(connection: Connection, run_seq: int, devices: Sequence[int] | None) -> set[int]:
    chosen: ColumnElement[bool] = targets.c.granted_at.is_not(None)
    if devices is not None:
        chosen = and_(chosen, targets.c.device_seq.in_(devices))
    moved = move(
        connection,
        run_seq,
        chosen,
        _UNBEGUN,
        TargetState.PENDING,
        reason=case(
            (targets.c.goes_back, "RollingBack"),
            (targets.c.staged_at.is_not(None), "Staged"),
            else_="Selected",
        ),
        started_at=None,
        **_UNGRANTED,
    )
    return set(moved)


def defer(connection: Connection, run_seq: int, devices: Sequence[int]) -> set[int]:
    """Silent devices are skipped until they are back."""
    moved = move(
        connection,
        run_seq,
        targets.c.device_seq.in_(devices),
        [TargetState.PENDING],
        TargetState.SKIPPED,
        reason="OfflineDeferred",
        **_UNGRANTED,
    )
    return set(moved)


def time_out(connection: Connection, run_seq: int, devices: Sequence[int], now: int) -> set[int]:
    """No verdict within deviceTimeout; a late success turns it into completed again."""
    moved = move(
        connection,
        run_seq,
        and_(targets.c.device_seq.in_(devices), targets.c.verified_at.is_(None)),
        [*ACTIVE_TARGETS, TargetState.COMPLETED],
        TargetState.FAILED,
        reason="TimedOut",
        error_message="no verdict within deviceTimeout",
        completed_at=now,
    )
    note_verdict(connection, run_seq, moved, now)
    return set(moved)


def give_up_preparing(
    connection: Connection, run_seq: int, devices: Sequence[int], now: int
) -> set[int]:
    """Nothing was staged within deviceTimeout; nothing was changed either."""
    moved = move(
        connection,
        run_seq,
        and_(
            targets.c.device_seq.in_(devices),
            targets.c.granted_at.is_(None),
            targets.c.staged_at.is_(None),
        ),
        [TargetState.PENDING],
        TargetState.FAILED,
        reason="DownloadFailed",
        error_message="the release was not staged within deviceTimeout",
        completed_at=now,
    )
    return set(moved)


def release(connection: Connection, run_seq: int, devices: Sequence[int], now: int) -> set[int]:
    """Devices left the filters before their grant."""
    moved = move(
        connection,
        run_seq,
        and_(targets.c.device_seq.in_(devices), targets.c.granted_at.is_(None)),
        [TargetState.PENDING],
        TargetState.SKIPPED,
        reason="NoLongerMatches",
        completed_at=now,
    )
    return set(moved)


def to_prepare(connection: Connection, run_seq: int, batch: int) -> set[int]:
    """Members of a batch that are to download ahead and have not heard of it yet."""
    rows = connection.execute(
        select(targets.c.device_seq).where(
            targets.c.run_seq == run_seq,
            targets.c.batch == batch,
            targets.c.status == TargetState.PENDING.value,
            targets.c.granted_at.is_(None),
            targets.c.prepared_at.is_(None),
        )
    )
    return set(rows.scalars())


def offered(connection: Connection, run_seq: int) -> set[int]:
    """Devices of the run whose documents carry its offer, to be prepared or installed."""
    rows = connection.execute(
        select(targets.c.device_seq).where(
            targets.c.run_seq == run_seq,
            targets.c.status.in_([state.value for state in ACTIVE_TARGETS]),
        )
    )
    return set(rows.scalars())


def readmit(connection: Connection, run_seq: int, batch: int, devices: Sequence[int]) -> set[int]:
    """Deferred devices are back and wait for their grant."""
    return set(_readmit(connection, run_seq, batch, devices))


def readmit_deferred(connection: Connection, run_seq: int, batch: int) -> int:
    """Deferred devices of earlier batches fall into the last one; returns how many."""
    return len(_readmit(connection, run_seq, batch, None))


def _readmit(
    connection: Connection, run_seq: int, batch: int, devices: Sequence[int] | None
) -> list[int]:
    chosen: ColumnElement[bool] = targets.c.reason == "OfflineDeferred"
    if devices is not None:
        chosen = and_(chosen, targets.c.device_seq.in_(devices))
    return move(
        connection,
        run_seq,
        and_(chosen, has_no_other_active()),
        [TargetState.SKIPPED],
        TargetState.PENDING,
        # What it was told before its silence is told again, and its clock begins anew.
        prepared_at=None,
        reason=case((targets.c.goes_back, "RollingBack"), else_="Selected"),
        batch=batch,
    )


def skip_unbegun(
    connection: Connection, run_seq: int, reason: str, now: int, *, takes_back: bool = False
) -> set[int]:
    """The run is over: what has not begun to install never does.

    Who is on the way back stays on it, unless a new run takes the device (`takes_back`).
    """
    moved = move(
        connection,
        run_seq,
        true() if takes_back else targets.c.goes_back.is_(False),
        _UNBEGUN,
        TargetState.SKIPPED,
        reason=reason,
        completed_at=now,
    )
    deferred = and_(
        targets.c.status == TargetState.SKIPPED.value, targets.c.reason == "OfflineDeferred"
    )
    if not takes_back:
        deferred = and_(deferred, targets.c.goes_back.is_(False))
    change(connection, run_seq, deferred, reason="Superseded")
    return set(moved)


def waiting_in(connection: Connection, run_seq: int, batch: int | None) -> set[int]:
    """Members of a batch, or of all, that wait for their grant: its state decides what they do."""
    where = [
        targets.c.run_seq == run_seq,
        targets.c.status == TargetState.PENDING.value,
        targets.c.granted_at.is_(None),
    ]
    if batch is not None:
        where.append(targets.c.batch == batch)
    return set(connection.execute(select(targets.c.device_seq).where(*where)).scalars())


def note_verdict(connection: Connection, run_seq: int, devices: Sequence[int], now: int) -> None:
    """Remember when the targets' batches last got a verdict: soak counts from there."""
    if not devices:
        return
    connection.execute(_JUDGED, {"of_run": run_seq, "of_devices": devices, "now": now})


_JUDGED = (
    update(batches)
    .where(
        batches.c.run_seq == bindparam("of_run"),
        batches.c.number.in_(
            select(targets.c.batch).where(
                targets.c.run_seq == bindparam("of_run"),
                targets.c.device_seq.in_(bindparam("of_devices", expanding=True)),
            )
        ),
    )
    .values(last_verdict_at=bindparam("now"))
)
