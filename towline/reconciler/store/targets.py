"""Targets: selecting devices into a batch and moving them from state to state.

Every change of a target's status goes through `move`, which keeps the counters in the same
transaction: `deployment_counts` equals a GROUP BY at any time. Whatever of targets a replay
rebuilds is recorded here, and where devices are selected.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, func, select, update
from sqlalchemy.dialects import postgresql, sqlite

from towline.reconciler.store import changes
from towline.reconciler.store.causes import is_recorded
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
    seen = _update(connection, run_seq, chosen, {"status": after.value, **values})
    moved: Counter[str] = Counter({after.value: len(seen)})
    moved.subtract(Counter(row.status for row in seen))
    count(connection, run_seq, moved)
    return [row.device_seq for row in seen]


def change(
    connection: Connection, run_seq: int, where: ColumnElement[bool], **values: Any
) -> list[int]:
    """Set columns of the run's targets that satisfy `where`, their status left as it is.

    Returns their devices.
    """
    seen = _update(connection, run_seq, and_(targets.c.run_seq == run_seq, where), values)
    return [row.device_seq for row in seen]


def _update(
    connection: Connection, run_seq: int, chosen: ColumnElement[bool], values: dict[str, Any]
) -> Sequence[Row[Any]]:
    """Update and record; returns the rows as they were before, by `device_seq` and `status`."""
    told = [targets.c[name] for name in changes.TOLD_OF_TARGETS if name in values]
    others = [column for column in told if column.name != "status"]
    before = connection.execute(
        select(targets.c.device_seq, targets.c.status, *others).where(chosen)
    ).all()
    if not before:
        return before
    statement = update(targets).where(chosen).values(**values)
    if not told or not is_recorded(connection):
        connection.execute(statement)
        return before
    after = connection.execute(statement.returning(targets.c.device_seq, *told)).all()
    changes.targets_changed(connection, run_seq, before, after)
    return before


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
