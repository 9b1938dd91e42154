"""What changed in runs, batches, holds and targets: events of kind `changed.…`, enough to rebuild.

Whoever writes such a row records it here, in the same transaction. A change of many devices is one
event with their list; a change of nothing that is promised is none.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, Table, bindparam, insert, select

from towline.reconciler.store.causes import Cause, cause_of, is_recorded
from towline.reconciler.store.tables import batches, events, holds, runs, targets

PREFIX = "changed."
RUN, BATCH, HOLD, TARGETS = (f"{PREFIX}{word}" for word in ("run", "batch", "hold", "targets"))
DEVICES_PER_EVENT = 5000

_UNTOLD = {
    "runs": {
        "metadata", "offer", "filter_id", "cursor_pos", "next_due", "progress_from", "updated_at",
        "swept_at", "checked_commit", "let_go_at", "settled_change", "settled_for",
        "heard_since", "walked_change", "walked_for",
    },
    "batches": {"last_verdict_at", "filled_to"},
    "holds": set(),
}  # fmt: skip
"""Columns that change with every pass or report, or that follow from the revision."""


def _told(table: Table) -> tuple[str, ...]:
    return tuple(each.name for each in table.columns if each.name not in _UNTOLD[table.name])


TOLD: Mapping[str, tuple[str, ...]] = {each.name: _told(each) for each in (runs, batches, holds)}
"""The columns of each table that the changes rebuild."""
TOLD_OF_TARGETS = (
    "batch",
    "status",
    "reason",
    "attempt",
    "is_set_aside",
    "goes_back",
    "created_at",
    "granted_at",
    "completed_at",
    "verified_at",
)
"""The columns of targets that the changes rebuild."""

Values = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Change:
    """One event that a replay reads."""

    id: int
    at: int
    kind: str
    cause: str
    data: Mapping[str, Any]


def plain(value: Any) -> Any:
    """A column's value as an event holds it."""
    return str(value) if isinstance(value, UUID) else value


def run_changed(connection: Connection, run_seq: int, values: Values, *, is_new: bool) -> None:
    """A run began, or its columns changed to `values`."""
    if values:
        data = {"run": run_seq, "isNew": is_new, "values": values}
        _record_of_run(connection, run_seq, RUN, [data])


def batch_changed(
    connection: Connection, run_seq: int, number: int, values: Values, *, is_new: bool
) -> None:
    """A batch was opened, or its columns changed to `values`."""
    if values:
        data = {"run": run_seq, "batch": number, "isNew": is_new, "values": values}
        _record_of_run(connection, run_seq, BATCH, [data])


def holds_changed(
    connection: Connection, added: Sequence[Row[Any]], ended: Sequence[Row[Any]]
) -> None:
    """Holds of one Deployment, as rows of the table, were added or are over."""
    if not (added or ended) or not is_recorded(connection):
        return
    first, cause = (*added, *ended)[0], _cause(connection)
    connection.execute(
        insert(events).values(
            at=cause.at,
            organization=first.organization,
            kind=HOLD,
            deployment=first.deployment,
            cause=cause.words,
            data={
                "added": [row_values("holds", row) for row in added],
                "ended": [row.id for row in ended],
            },
        )
    )


def row_values(table: str, row: Row[Any]) -> Values:
    """The told columns of a whole row."""
    return {name: plain(getattr(row, name)) for name in TOLD[table]}


def targets_added(
    connection: Connection, run_seq: int, values: Values, devices: Iterable[int]
) -> None:
    """Devices of a run got targets with these values."""
    fresh = dict.fromkeys(TOLD_OF_TARGETS) | {"is_set_aside": False, "goes_back": False}
    told = {name: value for name, value in values.items() if name in fresh}
    move = {"was": None, "now": fresh | told}
    _record_moves(connection, run_seq, [(move, sorted(devices))])


def targets_gone(connection: Connection, run_seq: int, devices: Iterable[int]) -> None:
    """The targets of these devices were deleted: they may enter the run anew."""
    _record_moves(connection, run_seq, [({"was": "skipped", "now": None}, sorted(devices))])


@dataclass(frozen=True, slots=True)
class Move:
    """Targets that were alike and are alike again, by the values of their columns."""

    was: Mapping[str, Any]
    now: Mapping[str, Any]
    devices: Sequence[int]


def targets_changed(
    connection: Connection, run_seq: int, told: Sequence[str], moved: Iterable[Move]
) -> None:
    """Targets changed: `told` are those told columns that were set."""
    moves = []
    for each in moved:
        changed = {name: each.now[name] for name in told if each.now[name] != each.was[name]}
        if changed:
            moves.append(({"was": each.was["status"], "now": changed}, sorted(each.devices)))
    _record_moves(connection, run_seq, moves)


def _record_moves(
    connection: Connection, run_seq: int, moves: Sequence[tuple[Values, list[int]]]
) -> None:
    data = [{"run": run_seq, "moves": part} for part in _parts(moves)]
    _record_of_run(connection, run_seq, TARGETS, data)


def _parts(moves: Sequence[tuple[Values, list[int]]]) -> Iterator[list[Values]]:
    """Moves with their devices, cut so that no event lists more than 5,000 of them."""
    part: list[Values] = []
    room = DEVICES_PER_EVENT
    for move, devices in moves:
        rest = devices
        while rest:
            part.append(move | {"devices": rest[:room]})
            taken, rest = min(room, len(rest)), rest[room:]
            room -= taken
            if not room:
                yield part
                part, room = [], DEVICES_PER_EVENT
    if part:
        yield part


_OF_RUN = insert(events).from_select(
    ["at", "kind", "cause", "data", "organization", "deployment", "run", "commit"],
    select(
        bindparam("at", type_=events.c.at.type),
        bindparam("kind", type_=events.c.kind.type),
        bindparam("cause", type_=events.c.cause.type),
        bindparam("data", type_=events.c.data.type),
        runs.c.organization,
        runs.c.deployment,
        runs.c.id,
        runs.c.source_commit,
    ).where(runs.c.seq == bindparam("run_seq")),
)


def _record_of_run(connection: Connection, run_seq: int, kind: str, data: Sequence[Values]) -> None:
    if not data or not is_recorded(connection):
        return
    cause = _cause(connection)
    for each in data:
        values = {"run_seq": run_seq, "kind": kind, "at": cause.at, "cause": cause.words}
        connection.execute(_OF_RUN, values | {"data": each})


def _cause(connection: Connection) -> Cause:
    cause = cause_of(connection)
    if cause is None:
        raise RuntimeError("a change without a cause: say `because` first")
    return cause


def recorded(connection: Connection, organization: str) -> Iterator[Change]:
    """All changes, in order."""
    rows = connection.execute(
        select(events.c.id, events.c.at, events.c.kind, events.c.cause, events.c.data)
        .where(events.c.organization == organization, events.c.kind.startswith(PREFIX))
        .order_by(events.c.id)
        .execution_options(yield_per=1000)
    )
    for row in rows:
        yield Change(row.id, row.at, row.kind, row.cause, row.data)


def stored(connection: Connection, organization: str) -> dict[str, list[Row[Any]]]:
    """The told columns of all rows, by table; of targets those and their keys."""
    told = {
        table.name: select(*(table.c[name] for name in TOLD[table.name]))
        for table in (runs, batches, holds)
    }
    told["targets"] = select(
        targets.c.run_seq, targets.c.device_seq, *(targets.c[name] for name in TOLD_OF_TARGETS)
    )
    of_organization = select(runs.c.seq).where(runs.c.organization == organization)
    where = {
        "runs": runs.c.organization == organization,
        "batches": batches.c.run_seq.in_(of_organization),
        "holds": holds.c.organization == organization,
        "targets": targets.c.run_seq.in_(of_organization),
    }
    return {
        name: list(connection.execute(statement.where(where[name])))
        for name, statement in told.items()
    }
