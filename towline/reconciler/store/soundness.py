"""What a sound store must satisfy, asked of its rows: counters, references, times."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, and_, func, select
from sqlalchemy import text as plain_text

from towline.reconciler.store import counters
from towline.reconciler.store.engine import is_postgres
from towline.reconciler.store.tables import (
    deployment_counts,
    device_state,
    events,
    metadata,
    runs,
    targets,
)


@dataclass(frozen=True, slots=True)
class WrongCount:
    """A run whose counters do not come to its rows."""

    organization: str
    deployment: str
    run_seq: int
    counted: int
    rows: int
    """The sums; where they are equal, what is counted as which differs."""


@dataclass(frozen=True, slots=True)
class Orphans:
    """Rows that refer to what is not there."""

    table: str
    column: str
    of: str
    n: int


def wrong_counts(connection: Connection) -> list[WrongCount]:
    """The runs whose counters differ from a count of their targets."""
    stored: dict[int, Counter[Any]] = {}
    for run_seq, *standing, n in connection.execute(
        select(deployment_counts).where(deployment_counts.c.n != 0)
    ):
        stored.setdefault(run_seq, Counter())[counters.Standing(*standing)] = n
    counted = counters.counted_by_run(connection)
    wrong = [
        run_seq
        for run_seq in sorted(stored.keys() | counted.keys())
        if stored.get(run_seq) != counted.get(run_seq)
    ]
    names = {row.seq: row for row in connection.execute(select(runs.c.seq, *_NAMES))}
    return [
        WrongCount(
            organization=names[run_seq].organization if run_seq in names else "",
            deployment=names[run_seq].deployment if run_seq in names else "",
            run_seq=run_seq,
            counted=stored.get(run_seq, Counter()).total(),
            rows=counted.get(run_seq, Counter()).total(),
        )
        for run_seq in wrong
    ]


_NAMES = (runs.c.organization, runs.c.deployment)


def number_of_targets(connection: Connection) -> int:
    """How many rows the counters are of."""
    return connection.execute(select(func.count()).select_from(targets)).scalar_one()


def orphans(connection: Connection) -> list[Orphans]:
    """Rows whose reference leads nowhere, of every table that refers to another."""
    found = []
    for table in metadata.sorted_tables:
        for reference in table.foreign_keys:
            column, parent = reference.parent, reference.column
            n = _without_parent(connection, table, column, parent)
            if n:
                found.append(Orphans(table.name, column.name, parent.table.name, n))
    return found


def _without_parent(
    connection: Connection, table: Table, column: ColumnElement[Any], parent: Any
) -> int:
    there = select(parent).where(parent == column).exists()
    is_orphan = and_(column.is_not(None), ~there)
    return connection.execute(select(func.count()).select_from(table).where(is_orphan)).scalar_one()


def latest_time(connection: Connection) -> int | None:
    """The newest time that anything in the store was written at."""
    times = (
        select(func.max(column)).scalar_subquery()
        for column in (events.c.at, runs.c.updated_at, device_state.c.last_seen)
    )
    return max(filter(None, connection.execute(select(*times)).one()), default=None)


def database_clock(connection: Connection) -> float | None:
    """What time the database has; None for a file, which has no clock."""
    if not is_postgres(connection):
        return None
    clock = plain_text("SELECT extract(epoch FROM clock_timestamp())")
    return float(connection.execute(clock).scalar_one())


def database_size(connection: Connection) -> int:
    """How many bytes the store takes on its disk."""
    if is_postgres(connection):
        asked = plain_text("SELECT pg_database_size(current_database())")
        return int(connection.execute(asked).scalar_one())
    pages, size = (
        int(connection.execute(plain_text(f"PRAGMA {word}")).scalar_one())
        for word in ("page_count", "page_size")
    )
    return pages * size
