"""Silence before the last batch, where whoever is not heard of makes room for another.

A device is only ever heard of later than before. So nobody is silent for too long sooner than who
was heard of longest ago when all were looked at: that time is kept in the run (`heard_since`), and
until the patience that counts from it is over a pass looks at none of those who wait, however many
they are. Who begins to wait later entered later, or makes the time be forgotten (`forget`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    and_,
    bindparam,
    case,
    func,
    select,
    update,
)

from towline.reconciler.store import counters
from towline.reconciler.store.causes import is_recorded
from towline.reconciler.store.runs import batches_of
from towline.reconciler.store.tables import (
    batches,
    device_state,
    runs,
    targets,
)
from towline.schemas.states import TargetState

LAST_SEEN: ColumnElement[int] = func.coalesce(device_state.c.last_seen, 0)
UNGRANTED = and_(
    targets.c.run_seq == bindparam("newest"),
    targets.c.status == TargetState.PENDING.value,
    targets.c.granted_at.is_(None),
)
NOT_LAST = select(batches.c.number).where(
    batches.c.run_seq == bindparam("newest"), batches.c.is_last.is_(False)
)


@dataclass(frozen=True, slots=True)
class Silence:
    """Of those who wait for their grant before the last batch."""

    batches: Sequence[int] = ()
    """Where they wait."""
    heard_since: int | None = None
    """Since then each of them was heard of or entered; None: nobody waits."""
    next_at: int | None = None
    """The next time at which one of them can be silent for too long."""
    is_new: bool = False
    """All were looked at just now."""


NOBODY = Silence()


def later(one: ColumnElement[Any], other: ColumnElement[Any]) -> ColumnElement[Any]:
    """The greater of two times."""
    return case((one > other, one), else_=other)


def is_in(early: Sequence[int]) -> ColumnElement[bool]:
    """The target waits in one of these batches; who goes back is waited for elsewhere."""
    return and_(targets.c.batch.in_(early), targets.c.goes_back.is_(False))


_HEARD = later(LAST_SEEN, targets.c.created_at)


def batches_before_last(connection: Connection, run_seq: int) -> set[int]:
    """Where a silent device makes room for another."""
    return {row.number for row in batches_of(connection, run_seq) if not row.is_last}


def silence(
    connection: Connection, run_seq: int, kept: int | None, *, now: int, seen_s: int
) -> Silence:
    """Who may be silent for `seen_s`, or when; `kept` is the run's `heard_since`."""
    waiting = {each.batch for each in counters.of_run(connection, run_seq) if each.is_waiting}
    early = sorted(waiting & batches_before_last(connection, run_seq))
    if not early:
        return NOBODY
    # In a private copy time is played. A kept time that has yet to come is of another clock.
    if kept is not None and now - seen_s < kept <= now and is_recorded(connection):
        return Silence(early, kept, kept + seen_s)
    named = {"newest": run_seq, "unseen_since": now - seen_s}
    first, following = connection.execute(_heard(early), named).one()
    since = now if first is None else min(first, now)
    return Silence(early, since, None if following is None else following + seen_s, is_new=True)


def _heard(early: Sequence[int]) -> Select[Any]:
    """Who was heard of longest ago: of all, and of those that are not silent for too long."""
    return (
        select(func.min(_HEARD), func.min(case((bindparam("unseen_since") < _HEARD, _HEARD))))
        .select_from(targets)
        .join(device_state, device_state.c.device_seq == targets.c.device_seq)
        .where(UNGRANTED, is_in(early))
    )


def keep_silence(connection: Connection, run_seq: int, found: Silence) -> None:
    """Keep what a look at all found; to be called before anything is done about it."""
    if found.is_new:
        named = {"of_run": run_seq, "heard_since": found.heard_since}
        connection.execute(_KEEPING, named)


def forget(connection: Connection, run_seq: int) -> None:
    """Somebody waits again, who may have been silent for long."""
    connection.execute(_KEEPING, {"of_run": run_seq, "heard_since": None})


_KEEPING = (
    update(runs)
    .where(
        runs.c.seq == bindparam("of_run"),
        runs.c.heard_since.is_distinct_from(bindparam("heard_since")),
    )
    .values(heard_since=bindparam("heard_since"))
)
