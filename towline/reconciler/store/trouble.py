"""Why the store cannot be used, for whoever runs the server: what, where, who, and what to do."""

import os
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from towline.reconciler.store import postgres
from towline.schemas.problems import Problem

_LOCKS = Path("/proc/locks")
_ROOM_BYTES = 64 * 1024
"""With less a disk is as good as full, whatever its error is called."""


_OF_THE_FILE = ("SQLITE_FULL", "SQLITE_BUSY", "SQLITE_IOERR", "SQLITE_CANTOPEN", "SQLITE_READONLY")


_FAILED_BEFORE = "25P02"
"""Of Postgres: the transaction had failed by another error, which somebody passed over."""


def is_of_all(error: Exception) -> bool:
    """Whether another transaction would fail by it, too."""
    cause = _cause(error)
    kind = getattr(cause, "sqlite_errorname", None)
    if kind is None:
        return getattr(cause, "sqlstate", None) != _FAILED_BEFORE
    return bool(kind.startswith(_OF_THE_FILE))


def while_serving(engine: Engine, error: Exception) -> dict[str, str]:
    """For the log of a server, which needs no new start: devices are asked to come again."""
    told = trouble(engine, error)
    return {"error": told.what, "remedy": f"{told.remedy}; the server goes on by itself"}


def _cause(error: Exception) -> BaseException:
    return error.orig or error if isinstance(error, DBAPIError) else error


def trouble(engine: Engine, error: Exception) -> Problem:
    """An error of `engine.AWAY` in words."""
    cause = _cause(error)
    if isinstance(cause, sqlite3.Error) and engine.url.database:
        return _of_file(Path(engine.url.database), cause)
    lines = str(cause).strip().splitlines()
    return Problem(
        f"the store {_shown(engine)} cannot be used: {lines[0] if lines else repr(cause)}",
        remedy="let it be reachable again",
    )


def _shown(engine: Engine) -> str:
    return postgres.shown(engine.url) if engine.name == "postgresql" else engine.url.database or ""


def _of_file(path: Path, cause: sqlite3.Error) -> Problem:
    kind = getattr(cause, "sqlite_errorname", "")
    if kind == "SQLITE_FULL" or (kind.startswith("SQLITE_IOERR") and _is_full(path.parent)):
        return Problem(
            f"the disk is full: nothing can be written to the store {path}",
            remedy=f"make room in {path.parent}",
        )
    if kind.startswith("SQLITE_BUSY"):
        who = ", ".join(_named(pid) for pid in holders(path)) or "another process"
        return Problem(
            f"the store {path} is locked: {who} keeps a transaction open that writes",
            remedy="wait until it ends, or end it",
        )
    return Problem(
        f"the store {path} cannot be used: {cause}",
        remedy="look at the disk, and at whom the file and its folder belong to",
    )


def _is_full(folder: Path) -> bool:
    try:
        return shutil.disk_usage(folder).free < _ROOM_BYTES
    except OSError:
        return False


def holders(path: Path) -> list[int]:
    """The processes that hold a lock for writing on a SQLite file, as far as the kernel tells.

    It is asked without opening the file: to close it would end this process' own locks on it.
    """
    files = set()
    for name in (path.name, f"{path.name}-shm"):
        try:
            found = path.with_name(name).stat()
        except OSError:
            continue
        files.add(f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}")
    return sorted({pid for pid, file in _write_locks() if file in files and pid != os.getpid()})


def _write_locks() -> Iterator[tuple[int, str]]:
    """The holder and the file of each."""
    try:
        lines = _LOCKS.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        words = line.split()
        # `1: POSIX  ADVISORY  WRITE 1234 fe:00:5678 120 120`; who waits has `->` in it.
        if len(words) == 8 and words[3] == "WRITE":
            yield int(words[4]), words[5]


def _named(pid: int) -> str:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode().split()
    except (OSError, ValueError):
        words = []
    return f"pid {pid}" + (f" ({' '.join(words)[:60]})" if words else "")
