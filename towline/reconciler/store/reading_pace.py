"""How a run went over time: how many of its devices completed and failed, by spans of equal length.

One statement over the run's targets; a row per span and outcome, never one per device.
"""

from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from towline.reconciler.store.tables import targets
from towline.schemas.states import TargetState

_FAILED = (TargetState.FAILED.value, TargetState.ROLLED_BACK.value)
_ENDED = (TargetState.COMPLETED.value, *_FAILED)


@dataclass(frozen=True, slots=True)
class Moment:
    """So many devices had completed and failed by then."""

    at: int
    completed: int
    failed: int


def pace(
    connection: Connection, run_seq: int, start: int, end: int, spans: int
) -> tuple[Moment, ...]:
    """From `start` to `end` in at most `spans` steps; the first moment is the start."""
    width = max(1, -(-(end - start) // spans))
    span = ((targets.c.completed_at - start) // width).label("span")
    rows = connection.execute(
        select(span, targets.c.status, func.count())
        .where(
            targets.c.run_seq == run_seq,
            targets.c.status.in_(_ENDED),
            targets.c.completed_at >= start,
        )
        .group_by(span, targets.c.status)
    )
    ended: dict[int, list[int]] = {}
    last = max(0, end - start - 1) // width
    for number, status, n in rows:
        both = ended.setdefault(min(number, last), [0, 0])
        both[status in _FAILED] += n
    moments = [Moment(start, 0, 0)]
    for number in range(last + 1):
        completed, failed = ended.get(number, (0, 0))
        before = moments[-1]
        at = min(end, start + (number + 1) * width)
        moments.append(Moment(at, before.completed + completed, before.failed + failed))
    return tuple(moments)
