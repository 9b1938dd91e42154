"""When the next clock of a Deployment's targets runs out: the time at which its loop must wake."""

from collections.abc import Sequence

from sqlalchemy import (
    Connection,
    bindparam,
    exists,
    func,
    or_,
    select,
)

from towline.reconciler.store.clocks import (
    RUNS_OF_DEPLOYMENT,
    STANDS,
    Asked,
    awaits_verdict,
    away,
    by_deadline,
)
from towline.reconciler.store.silence import LAST_SEEN, Silence, later
from towline.reconciler.store.tables import (
    IS_AWAY,
    deployment_counts,
    device_state,
    runs,
    targets,
)
from towline.schemas.states import TargetState

_COUNTS = deployment_counts.c


_OF_DEPLOYMENT = targets.c.run_seq.in_(RUNS_OF_DEPLOYMENT)
_DEADLINE_OF_RUN = by_deadline(
    # The first one of each run: a minimum would look at all clocks that run.
    select(targets.c.deadline)
    .where(
        targets.c.run_seq == runs.c.seq,
        targets.c.deadline > bindparam("now"),
        STANDS,
        awaits_verdict(),
    )
    .order_by(targets.c.deadline)
    .limit(1)
    .correlate(runs)
)
_DEADLINE = select(func.min(_DEADLINE_OF_RUN.scalar_subquery())).where(
    runs.c.organization == bindparam("of_organization"),
    runs.c.deployment == bindparam("of_deployment"),
)
_SILENT_AT = later(LAST_SEEN + bindparam("offline_s"), targets.c.deadline)
_SILENT_WAITER = away(
    select(func.min(_SILENT_AT))
    .select_from(targets)
    .join(device_state, device_state.c.device_seq == targets.c.device_seq)
    .where(bindparam("now") < _SILENT_AT, _OF_DEPLOYMENT, ~STANDS, IS_AWAY)
)
_UNFETCHED_AT = targets.c.granted_at + bindparam("seen_s")
_UNFETCHED = away(
    select(func.min(_UNFETCHED_AT)).where(
        bindparam("now") < _UNFETCHED_AT,
        _OF_DEPLOYMENT,
        IS_AWAY,
        targets.c.status == TargetState.PENDING.value,
        targets.c.fetched_at.is_(None),
    )
)
_TIMES = select(*(each.scalar_subquery() for each in (_DEADLINE, _SILENT_WAITER, _UNFETCHED)))


def next_clock(connection: Connection, asked: Asked, early: Silence) -> int | None:
    """The next time after `now` at which a clock of a target can run out.

    Whoever waits silently in the last batch is looked at with the next sweep.
    """
    times = [*connection.execute(_TIMES, asked.named).one(), early.next_at]
    if _waits_late(connection, asked, early.batches):
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
