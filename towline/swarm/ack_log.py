"""The log of acknowledged reports: what the server has promised to keep, as the devices heard it.

A line stands in it only after the acknowledgement, so that whatever it names must be in the store.
It is written and synchronised by a thread, as many lines at once as came meanwhile. A line that
cannot be written is told, never dropped.
"""

import asyncio
import fcntl
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from towline.schemas.problems import Problem

_FIELDS = ("journal", "reportSeq", "deployment", "attempt", "state")


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """One report that the server has acknowledged; journal and number are its id."""

    organization: str
    device: str
    journal: str
    report_seq: int
    deployment: str | None
    attempt: int | None
    state: str | None


class AckLog:
    """Belongs to one event loop; several processes may append to one file.

    The first write that fails ends it: a log that lacks lines proves less than it says.
    """

    def __init__(self, path: Path) -> None:
        """Raises Problem when the file cannot be opened."""
        self._path = path
        self._file = _opened(path)
        self._lines: list[bytes] = []
        self._writing: asyncio.Task[None] | None = None
        self._failure: asyncio.Future[Problem] = asyncio.get_running_loop().create_future()

    def note(self, organization: str, device: str, reports: Sequence[Mapping[str, Any]]) -> None:
        """These were acknowledged."""
        if self._failure.done():
            return
        for report in reports:
            known = {name: report[name] for name in _FIELDS}
            line = {"organization": organization, "device": device, **known}
            self._lines.append(json.dumps(line).encode() + b"\n")
        if self._lines and (self._writing is None or self._writing.done()):
            self._writing = asyncio.ensure_future(self._write())

    async def watch(self, seconds: float) -> None:
        """Wait so long; raises Problem as soon as a write has failed."""
        await asyncio.wait([self._failure], timeout=seconds)
        self._check()

    async def close(self) -> None:
        """Write what is left; raises Problem when that or an earlier write has failed."""
        if self._writing is not None:
            await self._writing
        os.close(self._file)
        self._check()

    def _check(self) -> None:
        if self._failure.done():
            raise self._failure.result()

    async def _write(self) -> None:
        while self._lines:
            taken = len(self._lines)
            try:
                await asyncio.to_thread(self._append, b"".join(self._lines))
            except OSError as error:
                self._failure.set_result(
                    Problem(
                        f"the log {self._path} cannot be written: {error.strerror}",
                        remedy="make room there or name another file; what it holds is true, and"
                        " the newest reports are not in it",
                    )
                )
                return
            del self._lines[:taken]

    def _append(self, data: bytes) -> None:
        """Write all of it, or none, and synchronise it."""
        # The system may take a part only: no other process may come before the rest.
        fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            _write_whole(self._file, data)
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)
        os.fsync(self._file)


def check_appendable(path: Path) -> None:
    """Raises Problem when a swarm could not append to that file, or not with whole lines."""
    os.close(_opened(path))
    try:
        with path.open("rb") as file:
            is_cut = file.seekable() and file.seek(0, os.SEEK_END) > 0 and not _ends_whole(file)
    except OSError:
        return  # It can be written and not read: what stands in it is for others to see.
    if is_cut:
        raise Problem(
            f"the log {path} ends in half a line, as a stop may leave it",
            remedy="remove that line, or name another file",
        )


def _ends_whole(file: BinaryIO) -> bool:
    file.seek(-1, os.SEEK_END)
    return file.read(1) == b"\n"


def _opened(path: Path) -> int:
    try:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise Problem(
            f"the log {path} cannot be written: {error.strerror}",
            remedy="name a file, in a folder that is there and that you may write in",
        ) from None


def _write_whole(file: int, data: bytes) -> None:
    """Raises OSError, and then none of it stands in the file: half a line would spoil the next."""
    length = os.fstat(file).st_size
    left = memoryview(data)
    try:
        while left:
            left = left[os.write(file, left) :]
    except OSError:
        with suppress(OSError):
            os.ftruncate(file, length)
        raise


def read(path: Path) -> Iterator[Acknowledged]:
    """Every line; one that was cut short by a stop is the last and left out. Raises Problem."""
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if line.endswith(b"\n"):
                    yield _parse(path, number, line)
    except OSError as error:
        raise Problem(f"the log {path} cannot be read: {error.strerror}") from None


def _parse(path: Path, number: int, line: bytes) -> Acknowledged:
    try:
        found = json.loads(line)
        return Acknowledged(
            organization=found["organization"],
            device=found["device"],
            journal=found["journal"],
            report_seq=found["reportSeq"],
            deployment=found["deployment"],
            attempt=found["attempt"],
            state=found["state"],
        )
    except (ValueError, KeyError, TypeError):
        raise Problem(
            f"{path}:{number} is no line of such a log",
            remedy="name what `towline swarm --ack-log` has written",
        ) from None
