"""Selecting devices into a run: rows of `targets` made by one statement, counted with it."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    String,
    and_,
    case,
    delete,
    func,
    literal,
    null,
    select,
    true,
)

from towline.reconciler.store import changed_devices, changes, counters, hints
from towline.reconciler.store.among import among
from towline.reconciler.store.causes import is_recorded
from towline.reconciler.store.choice import OWNED_BY_OTHER, Affine, Choice, is_new, owned
from towline.reconciler.store.condition_keys import (
    NO_RELEASE,
    ConditionGroup,
    joined,
    key_of,
    keys_of,
    release_index,
)
from towline.reconciler.store.counters import Standing
from towline.reconciler.store.tables import edge_devices, targets
from towline.reconciler.store.upserts import insert_ignoring
from towline.schemas.states import TargetState

FIRST_ATTEMPT = 1
_SKIPPED = TargetState.SKIPPED


@dataclass(frozen=True, slots=True)
class Entry:
    """How the chosen devices enter the run."""

    batch: int
    status: TargetState
    reason: str
    at: int


def select_devices(
    connection: Connection,
    choice: Choice,
    groups: Sequence[ConditionGroup],
    entry: Entry,
    *,
    order: Affine | None,
    limit: int | None = None,
    only: int | None = None,
    is_everyone: bool = False,
) -> int:
    """Give up to `limit` devices of these groups a target, in order; returns how many got one.

    `only`: this one device or none. `order` is the run's; None orders by name. A device that
    another run took meanwhile is left out. `is_everyone`: the groups are all that the transaction
    saw, so that nobody's condition need be asked once more.
    """
    if not groups:
        return 0
    if limit is not None and limit >= sum(group.n for group in groups):
        # All of them: in the order of the table, which is by far the cheapest to write.
        limit = None
    # Whoever is in the run already conflicts, so that nothing is read of what is written.
    fitting = _fitting(connection, choice, groups, order, is_everyone=is_everyone)
    chosen = fitting if limit is None else _first(connection, choice, fitting, order, limit)
    if only is not None:
        chosen = chosen.where(edge_devices.c.seq == only)
    return _enter(connection, choice, chosen, entry)


def select_these(
    connection: Connection, choice: Choice, devices: Sequence[int], entry: Entry, order: Affine
) -> int:
    """Give these devices a target, who were all just found to be new; returns how many got one."""
    is_one = len(choice.portions) == 1  # whoever fits gets that one: nobody is asked
    release = literal(0) if is_one else release_index(choice, key_of(connection, choice))
    chosen = (
        select(edge_devices.c.seq, _position(order).label("position"), release.label("release"))
        .select_from(edge_devices if is_one else joined(choice))
        .where(among(connection, edge_devices.c.seq, devices))
    )
    return _enter(connection, choice, hints.by_number(chosen, edge_devices), entry)


def _enter(connection: Connection, choice: Choice, chosen: Select[Any], entry: Entry) -> int:
    """Give the chosen devices a target, and count them."""
    if entry.reason != OWNED_BY_OTHER:
        _forget_claims(connection, choice, chosen)
    columns, rows = _rows(choice, chosen, entry)
    statement = hints.planned_anew(insert_ignoring(connection, targets).from_select(columns, rows))
    added = _insert(connection, choice.run_seq, statement, entry)
    if choice.spread is not None:
        counters.recount(
            connection, choice.run_seq, entry.batch
        )  # who went to which arm is unknown
    else:
        standing = Standing(entry.batch, "", entry.status.value, entry.reason)
        counters.add(connection, choice.run_seq, Counter({standing: added}))
    return added


def _insert(connection: Connection, run_seq: int, statement: Any, entry: Entry) -> int:
    """Insert and record; a private copy need not read back whom it selected."""
    if not is_recorded(connection):
        options = {"preserve_rowcount": True}
        return connection.execute(statement, execution_options=options).rowcount
    devices = connection.execute(statement.returning(targets.c.device_seq)).scalars().all()
    values = {
        "batch": entry.batch,
        "status": entry.status.value,
        "reason": entry.reason,
        "attempt": FIRST_ATTEMPT,
        "created_at": entry.at,
    }
    changes.targets_added(connection, run_seq, values, devices)
    return len(devices)


def chosen_devices(
    connection: Connection,
    choice: Choice,
    groups: Sequence[ConditionGroup],
    order: Affine | None,
) -> Select[Any]:
    """`seq`, `position` and `release` of the devices in these groups."""
    return _fitting(connection, choice, groups, order).where(is_new(connection, choice))


def _fitting(
    connection: Connection,
    choice: Choice,
    groups: Sequence[ConditionGroup],
    order: Affine | None,
    *,
    is_everyone: bool = False,
) -> Select[Any]:
    """The same, and devices that are in the run already."""
    key = key_of(connection, choice)
    releases = {group.condition.release for group in groups}
    is_one = len(releases) == 1
    release = literal(_number(*releases)) if is_one else release_index(choice, key)
    parts = (
        [owned(connection, choice)]
        if is_everyone
        else [owned(connection, choice), key.in_(keys_of(groups))]
    )
    fitting = (
        select(edge_devices.c.seq, _position(order).label("position"), release.label("release"))
        .select_from(edge_devices if is_one and is_everyone else joined(choice))
        .where(*parts)
    )
    return fitting if choice.since is None else changed_devices.only(fitting, choice.since)


def _first(
    connection: Connection,
    choice: Choice,
    fitting: Select[Any],
    order: Affine | None,
    limit: int,
) -> Select[Any]:
    by: Any = edge_devices.c.slug if order is None else _position(order)
    return fitting.where(is_new(connection, choice)).order_by(by).limit(limit)


def _position(order: Affine | None) -> ColumnElement[int]:
    if order is None:
        return func.row_number().over(order_by=edge_devices.c.slug)
    return order.of(edge_devices.c.seq)


def _number(release: int | None) -> int:
    return NO_RELEASE if release is None else release


def _forget_claims(connection: Connection, choice: Choice, chosen: Select[Any]) -> None:
    """The rows that said who else owns the chosen devices go: they enter the run anew."""
    standings = counters.of_run(connection, choice.run_seq)
    if all(standing.reason != OWNED_BY_OTHER for standing in standings):
        return
    told = and_(
        targets.c.run_seq == choice.run_seq,
        targets.c.status == _SKIPPED.value,
        targets.c.reason == OWNED_BY_OTHER,
    )
    devices = select(chosen.subquery().c.seq)
    forgetting = (
        delete(targets)
        .where(told, targets.c.device_seq.in_(devices))
        .returning(targets.c.device_seq, *(targets.c[name] for name in counters.MADE_OF))
    )
    gone = connection.execute(hints.planned_anew(forgetting)).all()
    changes.targets_gone(connection, choice.run_seq, [row.device_seq for row in gone])
    less: Counter[Standing] = Counter()
    less.subtract(counters.standings(gone))
    counters.add(connection, choice.run_seq, less)


def _rows(choice: Choice, chosen: Select[Any], entry: Entry) -> tuple[list[str], Select[Any]]:
    """The targets as columns and rows."""
    found = chosen.subquery("chosen")
    values: dict[str, Any] = {
        "run_seq": literal(choice.run_seq),
        "device_seq": found.c.seq,
        "component": literal(choice.component),
        "batch": literal(entry.batch),
        "status": literal(entry.status.value),
        "reason": literal(entry.reason),
        "attempt": literal(FIRST_ATTEMPT),
        "position": found.c.position,
        "sha256": _of_release(found.c.release, [each.sha256 for each in choice.portions]),
        "arm": _of_release(found.c.release, [each.arm for each in choice.portions]),
        "created_at": literal(entry.at),
    }
    # SQLite reads `ON CONFLICT` after a bare FROM as part of a join: a condition must stand there.
    return list(values), select(*values.values()).where(true()).order_by(found.c.seq)


def _of_release(release: ColumnElement[int], values: Sequence[str | None]) -> ColumnElement[Any]:
    """The value that belongs to the device's release."""
    named = [(release == n, value) for n, value in enumerate(values) if value is not None]
    return case(*named, else_=null()) if named else null().cast(String)
