"""Git on a repository of this machine, with an end: what it prints is read while it comes.

A run that takes too long is ended, and so is one whose reader has read enough.
"""

import os
import subprocess
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Timer
from typing import BinaryIO

from towline.schemas.problems import Problem

TIMEOUT_S = 60
_CHUNK_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Git:
    """The git program in one folder."""

    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    """Beside that of this process."""


class GitFailed(Exception):
    """Git ran, and ended with `status`; `said` is what it wrote of that."""

    def __init__(self, status: int, said: str) -> None:
        super().__init__(said)
        self.status, self.said = status, said


def output(git: Git, *arguments: str) -> bytes:
    """All that git prints; raises as `chunks`."""
    return b"".join(chunks(git, *arguments))


def chunks(
    git: Git, *arguments: str, given: BinaryIO | None = None
) -> Generator[bytes, None, None]:
    """What git prints, `given` being its input.

    Raises GitFailed when git fails, and Problem when there is none or it is not done within
    TIMEOUT_S.
    """
    process = _started(git, arguments, given)
    assert process.stdout is not None
    assert process.stderr is not None
    is_late = Event()

    def end() -> None:
        is_late.set()
        process.kill()

    timer = Timer(TIMEOUT_S, end)
    timer.start()
    try:
        with process.stdout, process.stderr:
            while chunk := process.stdout.read(_CHUNK_BYTES):
                yield chunk
            said = process.stderr.read()
        status = process.wait()
    finally:
        timer.cancel()
        process.kill()
        process.wait()
    if is_late.is_set():
        raise _late(arguments)
    if status:
        raise GitFailed(status, said.decode("utf-8", "replace"))


def _started(
    git: Git, arguments: tuple[str, ...], given: BinaryIO | None
) -> "subprocess.Popen[bytes]":
    try:
        return subprocess.Popen(
            ["git", *arguments],
            cwd=git.folder,
            env=os.environ | git.environment,
            stdin=subprocess.DEVNULL if given is None else given,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
    except FileNotFoundError:
        raise Problem("the git program is missing", remedy="install git") from None


def _late(arguments: tuple[str, ...]) -> Problem:
    return Problem(
        f"git {arguments[0]} was not done within {TIMEOUT_S} seconds",
        remedy="look for huge or endlessly nested folders in the repository, or a slow disk",
    )
