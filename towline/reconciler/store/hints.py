"""Which index SQLite is to use, where it would choose one that a large fleet makes slow.

Postgres needs no hint: it counts what is in its tables by itself, as SQLite does not. It does so a
while after thousands of rows have come, so it is told then.
"""

from typing import Any

from sqlalchemy import Connection, Engine, Select, Table
from sqlalchemy.dialects.sqlite.base import SQLiteCompiler


class _Compiler(SQLiteCompiler):
    """Writes the hints of a statement behind their tables, as SQLite reads them."""

    def get_from_hint_text(self, table: Any, text: Any) -> Any:
        return text


def understood(engine: Engine) -> Engine:
    """The engine, by which hints are written from now on."""
    engine.dialect.statement_compiler = _Compiler
    return engine


def by(index: str, statement: Select[Any], table: Table) -> Select[Any]:
    """The statement finds the table's rows by that index."""
    return statement.with_hint(table, f"INDEXED BY {index}", "sqlite")


def by_number(statement: Select[Any], table: Table) -> Select[Any]:
    """The statement finds the table's rows by their number alone."""
    return statement.with_hint(table, "NOT INDEXED", "sqlite")


def count_anew(connection: Connection, table: Table) -> None:
    """Let Postgres look how many rows the table has of what: thousands are new."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"ANALYZE {table.name}")
