"""Slots: which devices of a run may be granted next, and what the granted ones are doing."""

from collections.abc import Iterator
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, exists, func, or_, select

from towline.reconciler.store.clocks import awaits_verdict
from towline.reconciler.store.tables import (
    batches,
    device_state,
    edge_devices,
    runs,
    targets,
)
from towline.schemas.states import ACTIVE_TARGETS, TargetState

PAGE = 1000
_ACTIVE = [state.value for state in ACTIVE_TARGETS]
_IS_GRANTED = targets.c.granted_at.is_not(None)


def in_flight(connection: Connection, organization: str, deployment: str) -> int:
    """Slots in use: a former run's devices that still finish hold theirs."""
    return _count(connection, *_of_deployment(organization, deployment), *_holds_slot())


def waiting(connection: Connection, organization: str, deployment: str) -> int:
    """Of those: devices that say that they wait for a window or a lock."""
    mine = _of_deployment(organization, deployment)
    return _count(connection, *mine, *_holds_slot(), targets.c.waits != "")


def preparing(connection: Connection, run_seq: int) -> int:
    """Selected devices of a run that have not staged the release yet."""
    return _count(
        connection,
        targets.c.run_seq == run_seq,
        targets.c.status == TargetState.PENDING.value,
        targets.c.granted_at.is_(None),
        targets.c.staged_at.is_(None),
        targets.c.goes_back.is_(False),
    )


def going_back(connection: Connection, run_seq: int) -> int:
    """Devices of a run that are on their way back, granted or not."""
    return _count(
        connection,
        targets.c.run_seq == run_seq,
        targets.c.goes_back.is_(True),
        targets.c.status.in_(_ACTIVE),
    )


def to_send_back(connection: Connection, run_seq: int, limit: int = PAGE) -> tuple[int, ...]:
    """Devices that completed a run."""
    rows = connection.execute(
        select(targets.c.device_seq)
        .where(targets.c.run_seq == run_seq, targets.c.status == TargetState.COMPLETED.value)
        .order_by(targets.c.position)
        .limit(limit)
    )
    return tuple(rows.scalars())


def stalled_since(
    connection: Connection, organization: str, deployment: str, seen_after: int
) -> int | None:
    """When the oldest grant was given that an online device holds; None when none does."""
    found: int | None = connection.execute(
        select(func.min(targets.c.granted_at))
        .select_from(targets)
        .join(runs, runs.c.seq == targets.c.run_seq)
        .join(device_state, device_state.c.device_seq == targets.c.device_seq)
        .where(
            *_of_deployment(organization, deployment),
            *_holds_slot(),
            device_state.c.last_seen >= seen_after,
        )
    ).scalar_one()
    return found


def last_verdict_at(connection: Connection, run_seq: int) -> int:
    """When any batch of the run last got a verdict; 0 without one."""
    found = connection.execute(
        select(func.max(batches.c.last_verdict_at)).where(batches.c.run_seq == run_seq)
    ).scalar_one()
    return found or 0


def candidates(
    connection: Connection,
    run: Row[Any],
    seen_after: int,
    within: ColumnElement[bool],
    *,
    by_name: bool,
    only_back: bool,
) -> Iterator[list[int]]:
    """Devices to be granted next, in pages in order: staged, seen lately, not busy elsewhere.

    `within` is a condition over `edge_devices`. `only_back`: a run that is over still grants what
    goes back, which needs no staging.
    """
    is_ready: ColumnElement[bool] = targets.c.goes_back.is_(True)
    if not only_back:
        is_ready = or_(is_ready, targets.c.staged_at.is_not(None))
    order = (targets.c.batch, edge_devices.c.slug if by_name else targets.c.position)
    statement = (
        select(targets.c.device_seq)
        .join(edge_devices, edge_devices.c.seq == targets.c.device_seq)
        .join(device_state, device_state.c.device_seq == targets.c.device_seq)
        .where(
            targets.c.run_seq == run.seq,
            targets.c.status == TargetState.PENDING.value,
            targets.c.granted_at.is_(None),
            is_ready,
            within,
            # Later, not at the same time: a grant that was not fetched for so long was given then.
            device_state.c.last_seen > seen_after,
            ~_is_busy(),
        )
        .order_by(*order)
    )
    for page in connection.execute(statement).scalars().partitions(PAGE):
        yield list(page)


def _is_busy() -> ColumnElement[bool]:
    """One install at a time on a device, over all its components."""
    busy = targets.alias("busy")
    return exists(
        select(busy.c.run_seq).where(
            busy.c.device_seq == targets.c.device_seq,
            busy.c.granted_at.is_not(None),
            busy.c.status.in_(_ACTIVE),
        )
    )


def _holds_slot() -> tuple[ColumnElement[bool], ...]:
    return (_IS_GRANTED, targets.c.is_set_aside.is_(False), awaits_verdict())


def _of_deployment(organization: str, deployment: str) -> tuple[ColumnElement[bool], ...]:
    return (runs.c.organization == organization, runs.c.deployment == deployment)


def _count(connection: Connection, *where: ColumnElement[bool]) -> int:
    statement = (
        select(func.count())
        .select_from(targets)
        .join(runs, runs.c.seq == targets.c.run_seq)
        .where(and_(*where))
    )
    return connection.execute(statement).scalar_one()
