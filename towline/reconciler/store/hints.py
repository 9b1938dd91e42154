"""Which index SQLite is to use, where it would choose one that a large fleet makes slow.

Postgres needs no such hint: it counts what is in its tables by itself, as SQLite does not. It does
so a while after thousands of rows have come, so it is told then. And of a statement that it has
seen a few times it keeps one plan for whatever values come, so it is told where they matter.
"""

from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, Executable, Select, Table
from sqlalchemy.dialects.sqlite.base import SQLiteCompiler

_PLANNED_ANEW = "is_planned_anew"
_Statement = TypeVar("_Statement", bound=Executable)


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


def planned_anew(statement: _Statement) -> _Statement:
    """The statement gets a plan for its very values at each call, on Postgres.

    "Above this number" may be all rows or the last few: a plan for either is a bad one for both.
    It has to be said of the whole statement, which must not be read by a cursor of the database.
    """
    planned: _Statement = statement.execution_options(**{_PLANNED_ANEW: True})
    return planned


def execute(cursor: Any, statement: str, values: Any, context: Any) -> bool:
    """Heed `planned_anew`: a statement that is not prepared has no plan that could be kept."""
    if not context.execution_options.get(_PLANNED_ANEW):
        return False
    cursor.execute(statement, values, prepare=False)
    return True
