"""INSERT … ON CONFLICT of either engine."""

from typing import cast

from sqlalchemy import Connection, Table
from sqlalchemy.dialects import postgresql, sqlite


def insert_of(engine: str, table: Table) -> sqlite.Insert:
    """An INSERT of the engine of that name: it can say what to do ON CONFLICT."""
    if engine == "postgresql":
        return cast(sqlite.Insert, postgresql.insert(table))
    return sqlite.insert(table)


def insert_ignoring(connection: Connection, table: Table) -> sqlite.Insert:
    """`INSERT … ON CONFLICT DO NOTHING` of the connection's engine."""
    return insert_of(connection.dialect.name, table).on_conflict_do_nothing()
