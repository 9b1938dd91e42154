"""What a pass asks of all clocks of a Deployment's targets at once: who may be late, who is next.

Those that hold a grant without a verdict are as many as the Deployment has slots: each is looked
at. Of the deadlines only the first ones are.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, and_, bindparam, case, exists, func, select

from towline.reconciler.store import counters
from towline.reconciler.store.clocks import (
    IS_DUE,
    IS_UNFETCHED,
    IS_UNFETCHED_FOR_LONG,
    RUNS_OF_DEPLOYMENT,
    STANDS,
    Asked,
    awaits_verdict,
    away,
    by_deadline,
)
from towline.reconciler.store.silence import LAST_SEEN, Silence, later
from towline.reconciler.store.tables import IS_AWAY, device_state, runs, targets


@dataclass(frozen=True, slots=True)
class Look:
    """At a Deployment's clocks, and at those that hold a grant."""

    waiting: int
    """So many that hold a slot say that they wait for a window or a lock."""
    stalled_since: int | None
    """When the oldest grant was given that an online device holds a slot by."""
    unfetched: int
    """So many grants were not fetched for long."""
    is_any_due: bool
    """The deadline of a target is over, though it may stand still."""
    next_times: Sequence[int | None]
    """When a deadline, a silent device's patience, a grant's fetch will be over."""


_OF_DEPLOYMENT = targets.c.run_seq.in_(RUNS_OF_DEPLOYMENT)
_NOW: Any = bindparam("now")
_DEADLINE_OF_RUN = by_deadline(
    # The first one of each run: a minimum would look at all clocks that run.
    select(targets.c.deadline)
    .where(targets.c.run_seq == runs.c.seq, targets.c.deadline > _NOW, STANDS, awaits_verdict())
    .order_by(targets.c.deadline)
    .limit(1)
    .correlate(runs)
)
_DEADLINE = select(func.min(_DEADLINE_OF_RUN.scalar_subquery())).where(
    runs.c.organization == bindparam("of_organization"),
    runs.c.deployment == bindparam("of_deployment"),
)
_IS_ANY_DUE = exists(by_deadline(select(targets.c.run_seq).where(_OF_DEPLOYMENT, IS_DUE)))
_HOLDS_SLOT = targets.c.is_set_aside.is_(False)
_IS_SEEN = device_state.c.last_seen >= bindparam("unseen_since")
_SILENT_AT = later(LAST_SEEN + bindparam("offline_s"), targets.c.deadline)
_UNFETCHED_AT = targets.c.granted_at + bindparam("seen_s")
_LOOK = away(
    select(
        func.count(case((and_(_HOLDS_SLOT, ~STANDS), 1))),
        func.min(case((and_(_HOLDS_SLOT, _IS_SEEN), targets.c.granted_at))),
        func.count(case((IS_UNFETCHED_FOR_LONG, 1))),
        _IS_ANY_DUE,
        _DEADLINE.scalar_subquery(),
        func.min(case((and_(~STANDS, _NOW < _SILENT_AT), _SILENT_AT))),
        func.min(case((and_(IS_UNFETCHED, _NOW < _UNFETCHED_AT), _UNFETCHED_AT))),
    )
    .select_from(targets)
    .join(device_state, device_state.c.device_seq == targets.c.device_seq)
    .where(_OF_DEPLOYMENT, IS_AWAY)
)


def look(connection: Connection, asked: Asked) -> Look:
    """All that is asked of them in one statement."""
    waiting, stalled, unfetched, is_any_due, *times = connection.execute(_LOOK, asked.named).one()
    return Look(waiting, stalled, unfetched, bool(is_any_due), times)


def next_clock(connection: Connection, asked: Asked, found: Look, early: Silence) -> int | None:
    """The next time after `now` at which a clock of a target can run out.

    Whoever waits silently in the last batch is looked at with the next sweep.
    """
    times = [*found.next_times, early.next_at]
    if _waits_late(connection, asked, early.batches):
        times.append(asked.sweep_after)
    return min((time for time in times if time is not None), default=None)


def _waits_late(connection: Connection, asked: Asked, early: Sequence[int]) -> bool:
    """A device of the last batch, or one that goes back, waits for its grant."""
    return any(
        each.is_waiting and (each.batch not in early or each.reason == "RollingBack")
        for each in counters.of_run(connection, asked.newest)
    )
