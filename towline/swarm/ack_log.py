"""The log of acknowledged reports: what the server has promised to keep, as the devices heard it.

A line stands in it only after the acknowledgement, so that whatever it names must be in the store.
It is written and synchronised by a thread, as many lines at once as came meanwhile.
"""

import asyncio
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
    """Belongs to one event loop; several processes may append to one file."""

    def __init__(self, path: Path) -> None:
        """Raises Problem when the file cannot be opened."""
        try:
            self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise Problem(f"the log {path} cannot be written: {error.strerror}") from None
        self._lines: list[bytes] = []
        self._writing: asyncio.Task[None] | None = None

    def note(self, organization: str, device: str, reports: Sequence[Mapping[str, Any]]) -> None:
        """These were acknowledged."""
        for report in reports:
            known = {name: report[name] for name in _FIELDS}
            line = {"organization": organization, "device": device, **known}
            self._lines.append(json.dumps(line).encode() + b"\n")
        if self._lines and (self._writing is None or self._writing.done()):
            self._writing = asyncio.ensure_future(self._write())

    async def close(self) -> None:
        """Write what is left."""
        if self._writing is not None:
            await self._writing
        os.close(self._file)

    async def _write(self) -> None:
        while self._lines:
            data, self._lines = b"".join(self._lines), []
            await asyncio.to_thread(self._append, data)

    def _append(self, data: bytes) -> None:
        written = os.write(self._file, data)
        if written != len(data):
            raise OSError(f"the log took {written} of {len(data)} bytes")
        os.fsync(self._file)


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
