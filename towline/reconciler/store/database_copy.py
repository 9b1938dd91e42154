"""The rows of a Postgres database laid into a SQLite store in memory, as they are at one moment.

They are carried as plain values in both engines' own forms and never become objects here, so that a
large fleet is copied in the time that it takes to send it.
"""

import sqlite3
from collections.abc import Iterator
from typing import Any

from sqlalchemy import Connection

LEFT_OUT = frozenset({
    "alembic_version", "events", "audit", "answers", "sessions", "admin_tokens", "join_tokens",
    "device_tokens", "enrolments", "change_outbox", "leader_epoch", "session_nonces",
})  # fmt: skip
"""What happened, and who may come in: nobody asks a copy for it, and it is a large part."""
ROWS_AT_ONCE = 5000

_FORMS = {
    "uuid": "replace({0}::text, '-', '')",
    "jsonb": "{0}::text",
    "boolean": "{0}::int",
}
"""How SQLite's tables hold a value of that type; every other is the same on both."""


def lay_over(source: Connection, memory: sqlite3.Connection) -> None:
    """Fill empty tables of the source's schema; the source is in a transaction of its own."""
    driver: Any = source.connection.driver_connection
    types = _types(driver)
    memory.execute("BEGIN")
    for table in _tables(memory):
        columns = [row[1] for row in memory.execute(f'PRAGMA table_info("{table}")')]
        names = ", ".join(f'"{column}"' for column in columns)
        forms = ", ".join(_form(column, types[table, column]) for column in columns)
        marks = ", ".join("?" * len(columns))
        memory.executemany(
            f'INSERT INTO "{table}" ({names}) VALUES ({marks})',  # noqa: S608 names of our own
            _rows(driver, f'SELECT {forms} FROM "{table}"'),  # noqa: S608
        )
    memory.execute("COMMIT")


def _tables(memory: sqlite3.Connection) -> list[str]:
    names = memory.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    return sorted(name for (name,) in names if name not in LEFT_OUT)


def _types(driver: Any) -> dict[tuple[str, str], str]:
    rows = driver.execute(
        "SELECT table_name, column_name, data_type FROM information_schema.columns"
        " WHERE table_schema = current_schema()"
    )
    return {(table, column): kind for table, column, kind in rows}


def _form(column: str, kind: str) -> str:
    return _FORMS.get(kind, "{0}").format(f'"{column}"')


def _rows(driver: Any, query: str) -> Iterator[tuple[Any, ...]]:
    with driver.cursor(name="copied", binary=True) as cursor:
        cursor.itersize = ROWS_AT_ONCE
        cursor.execute(query)
        yield from cursor
