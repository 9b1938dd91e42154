"""`towline doctor`: whether what a server keeps is sound, each finding with what to do about it.

It reads and mends nothing: what is wrong is outside (a clock, a disk) or an error in Towline.
"""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from towline.reconciler.lengths import about, counted
from towline.reconciler.store import leader, postgres, soundness
from towline.reconciler.store.engine import Store, is_postgres
from towline.schemas import times

CLOCK_TOLERANCE_S = 5
FREE_BYTES = 1024**3
"""Below it a busy server may fill the disk before anybody looks."""
TOLD = 3
_LEAD = "start `towline serve`, or one with --role reconciler; where one runs, its log says why"
_REPORT = "please report it, with what `towline doctor -o json` says"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    name: str
    is_well: bool
    message: str
    remedy: str = ""

    def document(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "name": self.name,
            "isWell": self.is_well,
            "message": self.message,
            "remedy": self.remedy,
        }


def examine(store: Store, data: Path, now: float) -> list[Finding]:
    """Look at everything; `data` is the folder that the server keeps its files in."""
    with store.read() as connection:
        return [
            _store(connection),
            _leader(connection),
            *_counters(connection),
            *_orphans(connection),
            *_clock(connection, now),
            *_disk(connection, data),
        ]


def _store(connection: Connection) -> Finding:
    kind = "a Postgres database" if is_postgres(connection) else "a SQLite file"
    return Finding("store", is_well=True, message=kind)


def _leader(connection: Connection) -> Finding:
    """Of a file only the newest election is known: the lock on its folder is another program's."""
    term = leader.term(connection)
    if term is None:
        return Finding("leader", is_well=True, message="none was elected yet")
    newest = f"epoch {term.epoch}, elected at {times.to_rfc3339(term.since)}"
    if not is_postgres(connection):
        return Finding("leader", is_well=True, message=f"{term.holder}: {newest}")
    holder = postgres.who_leads(connection)
    if holder is None:
        message = f"nobody leads now; the last was {term.holder}: {newest}"
        return Finding("leader", is_well=False, message=message, remedy=_LEAD)
    return Finding("leader", is_well=True, message=f"{holder}: {newest}")


def _counters(connection: Connection) -> Iterator[Finding]:
    wrong = soundness.wrong_counts(connection)
    if not wrong:
        n = counted(soundness.number_of_targets(connection), "target")
        yield Finding("counters", is_well=True, message=f"come to the rows of {n}")
        return
    told = ", ".join(
        f"{each.deployment or 'a run that is gone'} (run {each.run_seq}: {each.counted} counted,"
        f" {each.rows} there)"
        for each in wrong[:TOLD]
    )
    more = f" and {len(wrong) - TOLD} more" if len(wrong) > TOLD else ""
    yield Finding(
        "counters", is_well=False, message=f"differ from the rows: {told}{more}", remedy=_REPORT
    )


def _orphans(connection: Connection) -> Iterator[Finding]:
    found = soundness.orphans(connection)
    if not found:
        yield Finding("references", is_well=True, message="every row has what it refers to")
    for each in found:
        yield Finding(
            "references",
            is_well=False,
            message=f"{counted(each.n, 'row')} of {each.table} without the {each.column} of"
            f" {each.of} that they name",
            remedy=_REPORT,
        )


def _clock(connection: Connection, now: float) -> Iterator[Finding]:
    latest = soundness.latest_time(connection)
    database = soundness.database_clock(connection)
    if latest is not None and latest > now + CLOCK_TOLERANCE_S:
        yield Finding(
            "clock",
            is_well=False,
            message=f"this machine's clock went back: the store was written at"
            f" {times.to_rfc3339(latest)}, which is {about(latest - int(now))} ahead",
            remedy="set the clock right, by NTP; deadlines and windows go by it",
        )
    elif database is not None and abs(database - now) > CLOCK_TOLERANCE_S:
        yield Finding(
            "clock",
            is_well=False,
            message=f"the database's clock differs by {about(int(abs(database - now)))}",
            remedy="set both clocks right, by NTP",
        )
    else:
        yield Finding("clock", is_well=True, message="is not behind what was written")


def _disk(connection: Connection, data: Path) -> Iterator[Finding]:
    size = soundness.database_size(connection)
    yield Finding("size", is_well=True, message=f"the store takes {_megabytes(size)}")
    if not data.is_dir():
        return
    free = shutil.disk_usage(data).free
    # A SQLite file is copied before a migration.
    needed = FREE_BYTES + (0 if is_postgres(connection) else size)
    yield Finding(
        "disk",
        is_well=free >= needed,
        message=f"{_megabytes(free)} free in {data}",
        remedy="" if free >= needed else f"make room: {_megabytes(needed)} is safe",
    )


def _megabytes(n: int) -> str:
    return f"{n / 1024**2:,.0f} MiB"
