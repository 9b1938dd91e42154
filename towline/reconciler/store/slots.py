"""Slots: which devices of a run may be granted next, and what the granted ones are doing."""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    and_,
    bindparam,
    exists,
    func,
    or_,
    select,
)

from towline.reconciler.store import counters, hints
from towline.reconciler.store.causes import is_recorded
from towline.reconciler.store.clocks import RUNS_OF_DEPLOYMENT
from towline.reconciler.store.columns import sum_of
from towline.reconciler.store.tables import (
    IS_READY,
    deployment_counts,
    device_state,
    edge_devices,
    targets,
)
from towline.schemas.states import ACTIVE_TARGETS, TargetState

PAGE = 1000
_LEAST, _MOST = 100, 5000
_ACTIVE = [state.value for state in ACTIVE_TARGETS]
_COUNTS = deployment_counts.c
# Statements are built once: each pass asks all of them, and building costs more than asking.
_IN_FLIGHT = select(sum_of(_COUNTS.n)).where(
    _COUNTS.run_seq.in_(RUNS_OF_DEPLOYMENT),
    _COUNTS.is_granted,
    _COUNTS.is_set_aside.is_(False),
    or_(
        _COUNTS.status.in_(_ACTIVE),
        and_(_COUNTS.status == TargetState.COMPLETED.value, _COUNTS.is_verified.is_(False)),
    ),
)


def in_flight(connection: Connection, organization: str, deployment: str) -> int:
    """Slots in use: a former run's devices that still finish hold theirs."""
    named = {"of_organization": organization, "of_deployment": deployment}
    return int(connection.execute(_IN_FLIGHT, named).scalar_one())


def preparing(connection: Connection, run_seq: int) -> int:
    """Selected devices of a run that have not staged the release yet."""
    return sum(
        n
        for each, n in counters.of_run(connection, run_seq).items()
        if each.is_waiting and each.reason not in ("Staged", "RollingBack")
    )


def going_back(connection: Connection, run_seq: int) -> int:
    """Devices of a run that are on their way back, granted or not."""
    statement = (
        select(func.count())
        .select_from(targets)
        .where(
            targets.c.run_seq == run_seq,
            targets.c.goes_back.is_(True),
            targets.c.status.in_(_ACTIVE),
        )
    )
    return connection.execute(statement).scalar_one()


def to_send_back(connection: Connection, run_seq: int, limit: int = PAGE) -> tuple[int, ...]:
    """Devices that completed a run."""
    rows = connection.execute(
        select(targets.c.device_seq)
        .where(targets.c.run_seq == run_seq, targets.c.status == TargetState.COMPLETED.value)
        .order_by(targets.c.position)
        .limit(limit)
    )
    return tuple(rows.scalars())


def may_be_ready(connection: Connection, run_seq: int) -> bool:
    """False when nobody in the run waits for its grant alone.

    A private copy may do without the index that tells.
    """
    if not is_recorded(connection):
        return True
    return bool(connection.execute(_IS_ANY_READY, {"of_run": run_seq}).scalar_one())


_OF_RUN = targets.c.run_seq == bindparam("of_run")
_READY = hints.by("ix_targets_ready", select(targets.c.run_seq).where(_OF_RUN, IS_READY), targets)
_IS_ANY_READY = select(exists(_READY))


def candidates(
    connection: Connection,
    run: Row[Any],
    seen_after: int,
    within: ColumnElement[bool],
    *,
    by_name: bool,
    only_back: bool,
    limit: int,
) -> Iterator[list[int]]:
    """Devices to be granted next, in pages in order: staged, seen lately, not busy elsewhere.

    `within` is a condition over `edge_devices`. `only_back`: a run that is over still grants what
    goes back, which needs no staging. The first page holds `limit` or more, if there are so many.
    """
    is_indexed = is_recorded(connection)
    statement = _candidates(by_name=by_name, only_back=only_back, is_indexed=is_indexed)
    named = {"of_run": run.seq, "seen_after": seen_after}
    size, passed = max(_LEAST, limit), 0
    while True:
        part = named | {"size": size, "passed": passed}
        page = connection.execute(statement.where(within), part).scalars().all()
        if page:
            yield list(page)
        if len(page) < size:
            return
        passed, size = passed + size, min(2 * size, _MOST)


_busy = targets.alias("busy")
_IS_BUSY = exists(
    select(_busy.c.run_seq).where(
        _busy.c.device_seq == targets.c.device_seq,
        _busy.c.run_seq != targets.c.run_seq,  # where it waits: nothing of that row need be read
        _busy.c.granted_at.is_not(None),
        _busy.c.status.in_(_ACTIVE),
    )
)
"""One install at a time on a device, over all its components."""


@lru_cache
def _candidates(*, by_name: bool, only_back: bool, is_indexed: bool) -> Select[Any]:
    is_ready = and_(IS_READY, targets.c.goes_back.is_(True)) if only_back else IS_READY
    order = (targets.c.batch, edge_devices.c.slug if by_name else targets.c.position)
    statement = (
        select(targets.c.device_seq)
        .join(edge_devices, edge_devices.c.seq == targets.c.device_seq)
        .join(device_state, device_state.c.device_seq == targets.c.device_seq)
        .where(
            _OF_RUN,
            is_ready,
            # Later, not at the same time: a grant that was not fetched for so long was given then.
            device_state.c.last_seen > bindparam("seen_after"),
            ~_IS_BUSY,
        )
        .order_by(*order)
        # Postgres works out and sends all that it is asked for, however few are then read.
        .limit(bindparam("size"))
        .offset(bindparam("passed"))
    )
    return hints.by("ix_targets_ready", statement, targets) if is_indexed else statement
