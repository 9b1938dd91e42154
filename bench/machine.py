"""What the machine is, and what a process on it takes, as Linux tells it."""

import os
import platform
import shutil
import sqlite3
import subprocess
import time
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from tests import postgres

_PARTS = ("uvicorn", "uvloop", "httptools", "fastapi", "SQLAlchemy", "cryptography", "psycopg")
_ROUNDS = 3_000_000


def facts() -> dict[str, object]:
    """What figures of one machine are to be compared by."""
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_mib": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20,
        "system": platform.platform(),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "load": load(),
        "pace": pace(),
        "postgres": postgres.version(),
        "nginx": _nginx(),
        **{part.lower(): _version(part) for part in _PARTS},
    }


def load() -> float:
    """How many processes wanted a core in the last minute, this one's among them."""
    return round(os.getloadavg()[0], 1)


def pace() -> float:
    """Millions of rounds of an empty loop in a second of the processor's time.

    Virtual machines are slower at some hours than at others: times of one hour are to be compared
    with those of another by this.
    """
    began = time.process_time()
    for _ in range(_ROUNDS):
        pass
    return round(_ROUNDS / 1e6 / (time.process_time() - began), 1)


def processor_s(pid: int) -> float:
    """User and system time of a process and its children."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    own = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return own + sum(processor_s(int(child)) for child in children)


def memory_kib(pid: int) -> int:
    """What of a process lies in memory."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") // 1024


def _version(part: str) -> str | None:
    try:
        return version(part)
    except PackageNotFoundError:
        return None  # not everybody has psycopg


def _nginx() -> str | None:
    """None: there is none, and rows leave it out."""
    if shutil.which("nginx") is None:
        return None
    told = subprocess.run(["nginx", "-v"], check=True, capture_output=True, text=True)
    return told.stderr.rpartition("nginx/")[2].split()[0]


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
