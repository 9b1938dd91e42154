"""Git on a repository of this machine, with an end: what it prints is read while it comes.

A run that takes too long is ended, and so is one whose reader has read enough.
"""

from collections.abc import Generator
from threading import Event, Timer
from typing import Any, BinaryIO

from git import Git
from git.exc import GitCommandError

from towline.schemas.problems import Problem

TIMEOUT_S = 60
_CHUNK_BYTES = 64 * 1024


def output(git: Git, *arguments: str) -> bytes:
    """All that git prints; raises as `chunks`."""
    return b"".join(chunks(git, *arguments))


def chunks(
    git: Git, *arguments: str, given: BinaryIO | None = None
) -> Generator[bytes, None, None]:
    """What git prints, `given` being its input.

    Raises GitError when git fails, and Problem when it is not done within TIMEOUT_S.
    """
    # What `execute` returns ends the process when it is dropped.
    started: Any = git.execute(["git", *arguments], istream=given, as_process=True)
    process = started.proc
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
        raise GitCommandError(["git", *arguments], status, said)


def _late(arguments: tuple[str, ...]) -> Problem:
    return Problem(
        f"git {arguments[0]} was not done within {TIMEOUT_S} seconds",
        remedy="look for huge or endlessly nested folders in the repository, or a slow disk",
    )
