"""When the next clock of a Deployment's targets runs out: the time at which its loop must wake."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    and_,
    bindparam,
    case,
    exists,
    func,
    or_,
    select,
)

from towline.reconciler.store.clocks import (
    LAST_SEEN,
    RUNS_OF_DEPLOYMENT,
    STANDS,
    UNGRANTED,
    Asked,
    awaits_verdict,
    early_batches,
    of_runs,
)
from towline.reconciler.store.tables import IS_AWAY, deployment_counts, device_state, targets
from towline.schemas.states import TargetState

_COUNTS = deployment_counts.c
_OF_DEPLOYMENT = of_runs(RUNS_OF_DEPLOYMENT)


def _soonest(clock: ColumnElement[Any], *where: ColumnElement[bool]) -> Select[Any]:
    return (
        select(func.min(clock))
        .select_from(targets)
        .join(device_state, device_state.c.device_seq == targets.c.device_seq)
        .where(clock > bindparam("now"), *where)
    )


def _later(one: ColumnElement[Any], other: ColumnElement[Any]) -> ColumnElement[Any]:
    return case((one > other, one), else_=other)


_DEADLINE = _soonest(targets.c.deadline, _OF_DEPLOYMENT, STANDS, awaits_verdict())
_SILENT_WAITER = _soonest(
    _later(LAST_SEEN + bindparam("offline_s"), targets.c.deadline), _OF_DEPLOYMENT, ~STANDS, IS_AWAY
)
_UNFETCHED = _soonest(
    targets.c.granted_at + bindparam("seen_s"),
    _OF_DEPLOYMENT,
    and_(
        IS_AWAY,
        targets.c.status == TargetState.PENDING.value,
        targets.c.fetched_at.is_(None),
    ),
)


def next_clock(connection: Connection, asked: Asked) -> int | None:
    """The next time after `now` at which a clock of a target can run out.

    Whoever waits silently in the last batch is looked at with the next sweep.
    """
    early = early_batches(connection, asked)
    statements = [_DEADLINE, _SILENT_WAITER, _UNFETCHED]
    if early:
        since = _later(LAST_SEEN, targets.c.created_at)
        is_early = targets.c.batch.in_(early)
        statements.append(_soonest(since + bindparam("seen_s"), UNGRANTED, is_early))
    times: list[int | None] = [
        connection.execute(each, asked.named).scalar_one() for each in statements
    ]
    if _waits_late(connection, asked, early):
        times.append(asked.sweep_after)
    return min((time for time in times if time is not None), default=None)


def _waits_late(connection: Connection, asked: Asked, early: Sequence[int]) -> bool:
    """A device of the last batch, or one that goes back, waits for its grant."""
    waits = exists(
        select(_COUNTS.n).where(
            _COUNTS.run_seq == asked.newest,
            _COUNTS.status == TargetState.PENDING.value,
            _COUNTS.is_granted.is_(False),
            or_(_COUNTS.batch.not_in(early), _COUNTS.reason == "RollingBack"),
        )
    )
    return bool(connection.execute(select(waits)).scalar_one())
