"""Targets: selecting devices into a batch and moving them from state to state.

Every change of a target's status goes through `move`, which keeps the counters in the same
transaction: `deployment_counts` equals a GROUP BY at any time. Whatever of targets a replay
rebuilds is recorded here, and where devices are selected.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    ClauseElement,
    ColumnElement,
    Connection,
    Row,
    and_,
    bindparam,
    select,
    update,
)
from sqlalchemy.sql.dml import ReturningUpdate
from sqlalchemy.sql.selectable import NamedFromClause

from towline.reconciler.store import changes, counters, silence
from towline.reconciler.store.among import among
from towline.reconciler.store.causes import is_recorded
from towline.reconciler.store.changes import Move
from towline.reconciler.store.columns import unindexed
from towline.reconciler.store.counters import Standing
from towline.reconciler.store.tables import targets
from towline.reconciler.store.together import ask, together
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


_OVER = frozenset({TargetState.FAILED, TargetState.ROLLED_BACK, TargetState.SKIPPED})


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
    if after in _OVER:
        values.setdefault("deadline", None)  # the index of clocks holds those that run
    chosen = and_(targets.c.run_seq == run_seq, targets.c.status.in_(allowed), where)
    return _update(connection, run_seq, chosen, {"status": after.value, **values})


def change(
    connection: Connection, run_seq: int, where: ColumnElement[bool], **values: Any
) -> list[int]:
    """Set columns of the run's targets that satisfy `where`, their status left as it is.

    Returns their devices.
    """
    return _update(connection, run_seq, and_(targets.c.run_seq == run_seq, where), values)


def move_one(connection: Connection, target: Row[Any], after: TargetState, **values: Any) -> None:
    """As `move`, of one target that was read whole in this transaction."""
    move_target(TargetState(target.status), after)
    if after in _OVER:
        values.setdefault("deadline", None)
    _update_one(connection, target, {"status": after.value, **values})


def change_one(connection: Connection, target: Row[Any], **values: Any) -> None:
    """As `change`, of one target that was read whole in this transaction."""
    _update_one(connection, target, values)


def _update_one(connection: Connection, target: Row[Any], values: dict[str, Any]) -> None:
    """As `_update`, with statements that are built once: reports come one by one."""
    told = [name for name in changes.TOLD_OF_TARGETS if name in values]
    is_counted = not values.keys().isdisjoint(counters.MADE_OF)
    of = {"of_run": target.run_seq, "of_device": target.device_seq, "stands": target.status}
    new = {f"new_{name}": value for name, value in values.items()}
    after = connection.execute(_updating(frozenset(values)), of | new).all()
    if is_counted and after:
        moved = counters.standings(after)
        moved.subtract(counters.standings([target]))
        _count(connection, target.run_seq, moved)
    if told and after and is_recorded(connection):
        move = Move(target._asdict(), after[0]._asdict(), [target.device_seq])
        changes.targets_changed(connection, target.run_seq, told, [move])


@lru_cache(maxsize=256)
def _updating(names: frozenset[str]) -> ReturningUpdate[Any]:
    """Sets these columns of one target, if it stands where it was seen.

    Its key finds it: SQLite is not to ask at each execution whether an index over states would.
    """
    told = names.intersection(changes.TOLD_OF_TARGETS)
    columns = sorted({"device_seq", "status", *told, *counters.MADE_OF})
    return (
        update(targets)
        .where(
            targets.c.run_seq == bindparam("of_run"),
            targets.c.device_seq == bindparam("of_device"),
            unindexed(targets.c.status) == bindparam("stands"),
        )
        .values({n: bindparam(f"new_{n}", type_=targets.c[n].type) for n in names})
        .returning(*(targets.c[name] for name in columns))
    )


def _update(
    connection: Connection, run_seq: int, chosen: ColumnElement[bool], values: dict[str, Any]
) -> list[int]:
    """Update, count and record; returns the devices of the targets."""
    told = [name for name in changes.TOLD_OF_TARGETS if name in values]
    is_counted = not values.keys().isdisjoint(counters.MADE_OF)
    names = sorted({"status", *told, *(counters.MADE_OF if is_counted else ())})
    before = _read(connection, names, chosen)
    if not before:
        return []
    same = and_(targets.c.run_seq == run_seq, among(connection, targets.c.device_seq, list(before)))
    connection.execute(update(targets).where(same).values(**values))
    if told or is_counted:
        moves = _moves(connection, names, before, same, values)
        if is_counted:
            _count(connection, run_seq, _recounted(moves))
        if told and is_recorded(connection):
            changes.targets_changed(connection, run_seq, told, moves)
    return list(before)


_Rows = dict[int, tuple[Any, ...]]


def _read(connection: Connection, names: Sequence[str], where: ColumnElement[bool]) -> _Rows:
    """Columns of the targets by their devices."""
    question = select(targets.c.device_seq, *(targets.c[name] for name in names)).where(where)
    (rows,) = ask(connection, together(connection.dialect.name, question), {})
    return {device: tuple(values) for device, *values in rows}


def _moves(
    connection: Connection,
    names: Sequence[str],
    before: _Rows,
    same: ColumnElement[bool],
    values: Mapping[str, Any],
) -> list[Move]:
    """What the targets that were updated are now. Many that move together are alike in all of it.

    Only what the database worked out is read again. In the order of the devices, so that either
    engine's history is written alike.
    """
    worked_out = [name for name in names if isinstance(values.get(name), ClauseElement)]
    after = _read(connection, worked_out, same) if worked_out else {}
    groups: dict[tuple[tuple[Any, ...], tuple[Any, ...]], list[int]] = {}
    for device, was in sorted(before.items()):
        groups.setdefault((was, after.get(device, ())), []).append(device)
    moves = []
    for (old, new), devices in groups.items():
        stood = dict(zip(names, old, strict=True))
        plain = {name: value for name, value in values.items() if name in stood}
        stands = {**stood, **plain, **dict(zip(worked_out, new, strict=True))}
        moves.append(Move(stood, stands, devices))
    return moves


def _recounted(moves: Iterable[Move]) -> Counter[Standing]:
    moved: Counter[Standing] = Counter()
    for move in moves:
        moved[counters.standing_with(move.now)] += len(move.devices)
        moved[counters.standing_with(move.was)] -= len(move.devices)
    return moved


def _count(connection: Connection, run_seq: int, moved: Counter[Standing]) -> None:
    counters.add(connection, run_seq, moved)
    # A change leaves all that it is of in one state, so that no others hide who waits anew.
    if sum(n for standing, n in moved.items() if standing.is_waiting) > 0:
        silence.forget(connection, run_seq)


def stands_active(target: NamedFromClause) -> ColumnElement[bool]:
    """Whether it stands in an active state."""
    return target.c.status.in_(ACTIVE_TARGETS)


def has_no_other_active() -> ColumnElement[bool]:
    """The target's device has no active target of the component: the unique index would refuse."""
    other = targets.alias("other")
    return ~(
        select(other.c.run_seq)
        .where(
            other.c.device_seq == targets.c.device_seq,
            other.c.component == targets.c.component,
            stands_active(other),
        )
        .exists()
    )


def groups_by_batch(connection: Connection, run_seq: int) -> dict[int, list[TargetGroup]]:
    """How many targets of each batch are in which condition; set-aside verdicts do not count."""
    found: dict[int, list[TargetGroup]] = {}
    for standing, n in counters.of_run(connection, run_seq).items():
        if standing.is_set_aside:
            continue
        group = TargetGroup(
            TargetState(standing.status),
            standing.reason,
            is_granted=standing.is_granted,
            is_verified=standing.is_verified,
            n=n,
            arm=standing.arm or None,
        )
        found.setdefault(standing.batch, []).append(group)
    return found
