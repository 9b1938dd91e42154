"""What a whole batch of devices comes to, in one statement: for rehearsals, never for a real fleet.

The counters move with the states, as they do for a single report.
"""

from collections import Counter

from sqlalchemy import ColumnElement, Connection, Row, and_, func, or_, select, update

from towline.reconciler.store import counters
from towline.reconciler.store.counters import Standing
from towline.reconciler.store.tables import batches, deployment_counts, runs, targets
from towline.schemas.states import ACTIVE_TARGETS, TargetState

_ACTIVE = [state.value for state in ACTIVE_TARGETS]


def complete(connection: Connection, run_seq: int, *, only_granted: bool, now: int) -> int:
    """Complete and verify the run's targets that have no verdict yet; returns how many.

    `only_granted` leaves those alone that were not granted.
    """
    counts = deployment_counts.c
    waits = [
        targets.c.run_seq == run_seq,
        _lacks_verdict(targets.c.status, targets.c.verified_at.is_(None)),
    ]
    counted = [
        counts.run_seq == run_seq,
        _lacks_verdict(counts.status, counts.is_verified.is_(False)),
    ]
    if only_granted:
        waits.append(targets.c.granted_at.is_not(None))
        counted.append(counts.is_granted)
    waiting = connection.execute(select(deployment_counts).where(*counted)).all()
    if not waiting:
        return 0
    connection.execute(
        update(targets)
        .where(*waits)
        .values(
            status=TargetState.COMPLETED.value,
            reason="",
            granted_at=func.coalesce(targets.c.granted_at, now),
            completed_at=now,
            verified_at=now,
        )
    )
    moved: Counter[Standing] = Counter()
    for row in waiting:
        before = Standing(*(getattr(row, name) for name in Standing._fields))
        moved[before] -= row.n
        moved[_completed(before)] += row.n
    counters.add(connection, run_seq, moved)
    connection.execute(
        update(batches)
        .where(batches.c.run_seq == run_seq, batches.c.number.in_({row.batch for row in waiting}))
        .values(last_verdict_at=now)
    )
    return sum(row.n for row in waiting)


def _completed(standing: Standing) -> Standing:
    return standing._replace(
        status=TargetState.COMPLETED.value, reason="", is_granted=True, is_verified=True
    )


def unfinished(
    connection: Connection, organization: str, deployment: str, newest: int
) -> list[Row[tuple[int]]]:
    """The runs before the newest one in which a device still works."""
    works = (
        select(targets.c.run_seq)
        .where(
            targets.c.run_seq == runs.c.seq,
            targets.c.granted_at.is_not(None),
            targets.c.status.in_(_ACTIVE),
        )
        .exists()
    )
    return list(
        connection.execute(
            select(runs).where(
                runs.c.organization == organization,
                runs.c.deployment == deployment,
                runs.c.seq < newest,
                works,
            )
        )
    )


def _lacks_verdict(
    status: ColumnElement[str], is_unverified: ColumnElement[bool]
) -> ColumnElement[bool]:
    is_completed = status == TargetState.COMPLETED.value
    return or_(status.in_(_ACTIVE), and_(is_completed, is_unverified))
