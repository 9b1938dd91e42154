"""What happens to single targets by decision: granted, withdrawn, deferred, timed out, skipped.

Each function returns the devices whose documents change by it.
"""

from collections.abc import Iterable, Sequence

from sqlalchemy import ColumnElement, Connection, and_, select, true, update

from towline.reconciler.store.tables import (
    batches,
    component_versions,
    device_components,
    edge_devices,
    targets,
)
from towline.reconciler.store.targets import has_no_other_active, move
from towline.schemas.states import ACTIVE_TARGETS, TargetState

_UNGRANTED = {"granted_at": None, "fetched_at": None, "deadline": None}
_UNBEGUN = (TargetState.PENDING, TargetState.DOWNLOADING)


def slugs(connection: Connection, devices: Sequence[int]) -> list[str]:
    """The ids of devices, in order of name."""
    rows = connection.execute(
        select(edge_devices.c.slug)
        .where(edge_devices.c.seq.in_(devices))
        .order_by(edge_devices.c.slug)
    )
    return list(rows.scalars())


def grant(connection: Connection, run_seq: int, devices: Iterable[int], now: int) -> set[int]:
    """Give leave to install, and keep what each device comes from."""
    granted: set[int] = set()
    for device in devices:
        version, sha256 = _installed(connection, run_seq, device)
        done = connection.execute(
            update(targets)
            .where(
                targets.c.run_seq == run_seq,
                targets.c.device_seq == device,
                targets.c.status == TargetState.PENDING.value,
                targets.c.granted_at.is_(None),
            )
            .values(
                granted_at=now,
                started_at=now,
                reason="Granted",
                from_version=version,
                from_sha256=sha256,
            )
        )
        if done.rowcount:
            granted.add(device)
    return granted


def _installed(connection: Connection, run_seq: int, device: int) -> tuple[str | None, str | None]:
    row = connection.execute(
        select(component_versions.c.version, device_components.c.sha256)
        .select_from(targets)
        .join(
            device_components,
            and_(
                device_components.c.device_seq == targets.c.device_seq,
                device_components.c.component == targets.c.component,
            ),
        )
        .join(component_versions, component_versions.c.id == device_components.c.version_id)
        .where(targets.c.run_seq == run_seq, targets.c.device_seq == device)
    ).first()
    return (row[0], row[1]) if row else (None, None)


def withdraw(connection: Connection, run_seq: int, device: int) -> set[int]:
    """Take back a grant that was never fetched."""
    return _withdraw(connection, run_seq, device)


def withdraw_all(connection: Connection, run_seq: int) -> set[int]:
    """A pause: grants that have not begun to install are taken back."""
    return _withdraw(connection, run_seq, None)


def _withdraw(connection: Connection, run_seq: int, device: int | None) -> set[int]:
    chosen: ColumnElement[bool] = targets.c.granted_at.is_not(None)
    if device is not None:
        chosen = and_(chosen, targets.c.device_seq == device)
    moved = move(
        connection,
        run_seq,
        chosen,
        _UNBEGUN,
        TargetState.PENDING,
        reason="Selected",
        started_at=None,
        **_UNGRANTED,
    )
    return set(moved)


def defer(connection: Connection, run_seq: int, device: int) -> set[int]:
    """A silent device is skipped until it is back."""
    moved = move(
        connection,
        run_seq,
        targets.c.device_seq == device,
        [TargetState.PENDING],
        TargetState.SKIPPED,
        reason="OfflineDeferred",
        **_UNGRANTED,
    )
    return set(moved)


def time_out(connection: Connection, run_seq: int, device: int, now: int) -> set[int]:
    """No verdict within deviceTimeout; a late success turns it into completed again."""
    moved = move(
        connection,
        run_seq,
        and_(targets.c.device_seq == device, targets.c.verified_at.is_(None)),
        [*ACTIVE_TARGETS, TargetState.COMPLETED],
        TargetState.FAILED,
        reason="TimedOut",
        error_message="no verdict within deviceTimeout",
        completed_at=now,
    )
    for each in moved:
        note_verdict(connection, run_seq, each, now)
    return set(moved)


def release(connection: Connection, run_seq: int, device: int, now: int) -> None:
    """A device left the filters before its grant."""
    move(
        connection,
        run_seq,
        and_(targets.c.device_seq == device, targets.c.granted_at.is_(None)),
        [TargetState.PENDING],
        TargetState.SKIPPED,
        reason="NoLongerMatches",
        completed_at=now,
    )


def granted(connection: Connection, run_seq: int) -> set[int]:
    """Devices of the run whose documents carry its offer to be installed."""
    rows = connection.execute(
        select(targets.c.device_seq).where(
            targets.c.run_seq == run_seq,
            targets.c.granted_at.is_not(None),
            targets.c.status.in_([state.value for state in ACTIVE_TARGETS]),
        )
    )
    return set(rows.scalars())


def readmit(connection: Connection, run_seq: int, batch: int, device: int) -> None:
    """A deferred device is back and waits for its grant."""
    _readmit(connection, run_seq, batch, device)


def readmit_deferred(connection: Connection, run_seq: int, batch: int) -> int:
    """Deferred devices of earlier batches fall into the last one; returns how many."""
    return len(_readmit(connection, run_seq, batch, None))


def _readmit(connection: Connection, run_seq: int, batch: int, device: int | None) -> list[int]:
    chosen: ColumnElement[bool] = targets.c.reason == "OfflineDeferred"
    if device is not None:
        chosen = and_(chosen, targets.c.device_seq == device)
    return move(
        connection,
        run_seq,
        and_(chosen, has_no_other_active()),
        [TargetState.SKIPPED],
        TargetState.PENDING,
        reason="Selected",
        batch=batch,
    )


def skip_unbegun(connection: Connection, run_seq: int, reason: str, now: int) -> set[int]:
    """The run is over: what has not begun to install never does."""
    granted = connection.execute(
        select(targets.c.device_seq).where(
            targets.c.run_seq == run_seq,
            targets.c.granted_at.is_not(None),
            targets.c.status.in_([state.value for state in _UNBEGUN]),
        )
    ).scalars()
    touched = set(granted)
    move(
        connection,
        run_seq,
        true(),
        _UNBEGUN,
        TargetState.SKIPPED,
        reason=reason,
        completed_at=now,
    )
    deferred = and_(
        targets.c.run_seq == run_seq,
        targets.c.status == TargetState.SKIPPED.value,
        targets.c.reason == "OfflineDeferred",
    )
    connection.execute(update(targets).where(deferred).values(reason="Superseded"))
    return touched


def note_verdict(connection: Connection, run_seq: int, device: int, now: int) -> None:
    """Remember when the target's batch last got a verdict: soak counts from there."""
    batch = (
        select(targets.c.batch)
        .where(targets.c.run_seq == run_seq, targets.c.device_seq == device)
        .scalar_subquery()
    )
    connection.execute(
        update(batches)
        .where(batches.c.run_seq == run_seq, batches.c.number == batch)
        .values(last_verdict_at=now)
    )
