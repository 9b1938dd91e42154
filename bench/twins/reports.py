"""A report as a sync route of FastAPI: `python -m bench.twins.reports FILE DEVICES`.

One insert each, SQLite with `synchronous=FULL`; answered after the commit. One connection behind a
lock: many that wait for each other's lock on the file are slower.
"""

import sqlite3
import sys
import threading
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Header, HTTPException
from pydantic import BaseModel

from bench.session import digest, session_of
from bench.twins.serving import serve

KEEP = """INSERT INTO reports (device, journal, report_seq, facts, versions)
VALUES (?, ?, ?, ?, ?) ON CONFLICT (device) DO UPDATE SET journal = excluded.journal,
report_seq = excluded.report_seq, facts = excluded.facts, versions = excluded.versions"""
TABLE = """CREATE TABLE reports (device INTEGER PRIMARY KEY, journal TEXT, report_seq BIGINT,
facts TEXT, versions TEXT)"""


class Installed(BaseModel):
    """What a component of the device runs."""

    version: str
    sha256: str


class Report(BaseModel):
    """What a device says."""

    journal: str
    reportSeq: int
    lastSequence: int
    facts: dict[str, Any]
    versions: dict[str, Installed]


def opened(file: Path) -> sqlite3.Connection:
    """The table of reports, as durable as Towline's."""
    connection = sqlite3.connect(file, check_same_thread=False)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute(TABLE)
    return connection


def application(file: Path, devices: int) -> FastAPI:
    """The twin."""
    app = FastAPI()
    database, turn = opened(file), threading.Lock()
    sessions = {digest(session_of(seq)): seq for seq in range(1, devices + 1)}

    def device(authorization: Annotated[str, Header()]) -> int:
        found = sessions.get(digest(authorization.removeprefix("Bearer ")))
        if found is None:
            raise HTTPException(401)
        return found

    @app.post("/api/v1/ota/reports", status_code=204)
    def take(report: Report, device: Annotated[int, Depends(device)]) -> None:
        told = (
            report.model_dump_json(include={"facts"}),
            report.model_dump_json(include={"versions"}),
        )
        with turn:
            database.execute(KEEP, (device, report.journal, report.reportSeq, *told))
            database.commit()

    return app


if __name__ == "__main__":
    serve(application(Path(sys.argv[1]), int(sys.argv[2])))
