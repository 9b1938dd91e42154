"""A report on Towline's stack, one insert each: `python -m bench.twins.inserts PLACE DEVICES`.

Raw ASGI, and a thread that writes to the SQLite file, or eight that write to the Postgres database;
each report has a commit of its own. It keeps the report and does nothing else: no target moves, no
version is compared.
"""

import asyncio
import sqlite3
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import orjson

from bench.session import digest, session_of
from bench.twins.reports import KEEP, TABLE, opened
from bench.twins.serving import serve
from towline.reconciler.server import wire
from towline.reconciler.server.wire import Answer, Receive, Scope, Send

POOL = 8
"""Connections to Postgres; SQLite has one writer."""


class Inserts:
    """The twin."""

    def __init__(self, place: str, devices: int) -> None:
        is_postgres = place.startswith("postgresql:")
        self._keep = _OnPostgres(place) if is_postgres else _OnSqlite(Path(place))
        self._writers = ThreadPoolExecutor(POOL if is_postgres else 1)
        self._sessions = {digest(session_of(seq)): seq for seq in range(1, devices + 1)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One report."""
        report = orjson.loads(await wire.read_body(receive, wire.DEVICE_BODY_LIMIT))
        token = wire.headers_of(scope)["authorization"].removeprefix("Bearer ")
        row = (self._sessions[digest(token)], *_told(report))
        await asyncio.get_running_loop().run_in_executor(self._writers, self._keep, row)
        await Answer(204).send(send)


def _told(report: dict[str, Any]) -> tuple[Any, ...]:
    parts = [orjson.dumps(report[part]).decode() for part in ("facts", "versions")]
    return (report["journal"], report["reportSeq"], *parts)


class _OnSqlite:
    def __init__(self, file: Path) -> None:
        self._database: sqlite3.Connection = opened(file)

    def __call__(self, row: tuple[Any, ...]) -> None:
        self._database.execute(KEEP, row)
        self._database.commit()


class _OnPostgres:
    """Each thread has a connection."""

    def __init__(self, url: str) -> None:
        import psycopg  # noqa: PLC0415 not everybody has it

        self._connect = lambda: psycopg.connect(url, autocommit=True)
        self._own = threading.local()
        with self._connect() as connection:
            connection.execute(TABLE.encode())

    def __call__(self, row: tuple[Any, ...]) -> None:
        if not hasattr(self._own, "connection"):
            self._own.connection = self._connect()
        self._own.connection.execute(KEEP.replace("?", "%s").encode(), row)


if __name__ == "__main__":
    serve(Inserts(sys.argv[1], int(sys.argv[2])))
