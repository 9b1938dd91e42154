"""Targets: selecting devices into a batch and moving them from state to state.

Every change of a target's status goes through `move`, which keeps the counters in the same
transaction: `deployment_counts` equals a GROUP BY at any time.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, func, select, update
from sqlalchemy.dialects import postgresql, sqlite

from towline.reconciler.store.tables import deployment_counts, targets
from towline.schemas.states import ACTIVE_TARGETS, TargetState, move_target


@dataclass(frozen=True, slots=True)
class TargetGroup:
    """How many targets of a batch are in one and the same condition."""

    status: TargetState
    reason: str
    is_granted: bool
    is_verified: bool
    n: int
    arm: str | None = None


def insert_ignoring(connection: Connection, table: Any) -> Any:
    """`INSERT … ON CONFLICT DO NOTHING` of the connection's engine."""
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    return dialect.insert(table).on_conflict_do_nothing()


def count(connection: Connection, run_seq: int, changes: Counter[str]) -> None:
    """Add `changes` to the run's counters."""
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    for status, n in changes.items():
        if n:
            statement = dialect.insert(deployment_counts).values(
                run_seq=run_seq, status=status, n=n
            )
            connection.execute(
                statement.on_conflict_do_update(
                    index_elements=["run_seq", "status"],
                    set_={"n": deployment_counts.c.n + statement.excluded.n},
                )
            )


def add(connection: Connection, rows: Sequence[dict[str, Any]]) -> list[int]:
    """Insert targets, all of one run; returns the devices that had no active target already."""
    if not rows:
        return []
    statement = insert_ignoring(connection, targets).returning(
        targets.c.device_seq, targets.c.status
    )
    added = connection.execute(statement, list(rows)).all()
    count(connection, rows[0]["run_seq"], Counter(status for _, status in added))
    return [device for device, _ in added]


def move(
    connection: Connection,
    run_seq: int,
    where: ColumnElement[bool],
    before: Iterable[TargetState],
    after: TargetState,
    **values: Any,
) -> list[int]:
    """Move the run's targets that satisfy `where` and stand in `before`; returns their devices.

    Raises IllegalMove, with nothing moved, when the tables of states lack such a move.
    """
    allowed = [state.value for state in before if move_target(state, after)]
    chosen = and_(targets.c.run_seq == run_seq, targets.c.status.in_(allowed), where)
    seen = connection.execute(select(targets.c.device_seq, targets.c.status).where(chosen)).all()
    if not seen:
        return []
    connection.execute(update(targets).where(chosen).values(status=after.value, **values))
    changes: Counter[str] = Counter({after.value: len(seen)})
    changes.subtract(Counter(status for _, status in seen))
    count(connection, run_seq, changes)
    return [device for device, _ in seen]


def has_no_other_active() -> ColumnElement[bool]:
    """The target's device has no active target of the component: the unique index would refuse."""
    other = targets.alias("other")
    return ~(
        select(other.c.run_seq)
        .where(
            other.c.device_seq == targets.c.device_seq,
            other.c.component == targets.c.component,
            other.c.status.in_([state.value for state in ACTIVE_TARGETS]),
        )
        .exists()
    )


def groups_by_batch(connection: Connection, run_seq: int) -> dict[int, list[TargetGroup]]:
    """How many targets of each batch are in which condition; set-aside verdicts do not count."""
    is_granted = targets.c.granted_at.is_not(None)
    is_verified = targets.c.verified_at.is_not(None)
    keys = (
        targets.c.batch,
        targets.c.arm,
        targets.c.status,
        targets.c.reason,
        is_granted,
        is_verified,
    )
    rows = connection.execute(
        select(*keys, func.count())
        .where(targets.c.run_seq == run_seq, targets.c.is_set_aside.is_(False))
        .group_by(*keys)
    )
    found: dict[int, list[TargetGroup]] = {}
    for batch, arm, status, reason, granted, verified, n in rows:
        group = TargetGroup(TargetState(status), reason, bool(granted), bool(verified), n, arm)
        found.setdefault(batch, []).append(group)
    return found
