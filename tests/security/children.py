"""Children of this process, so many at once: each does one thing, and its end is told."""

import os
import shutil
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

BROKEN = 70
"""How a child ends that could not do it."""


@dataclass(frozen=True, slots=True)
class Job:
    """What a child does: exits with what `act` returns, which gets a folder of its own."""

    name: str
    act: Callable[[Path], int]


@dataclass(frozen=True, slots=True)
class Ended:
    """How it ended."""

    number: int
    """In the order in which they were given."""
    status: int
    """Negative: the signal that ended it."""
    output: str


def run(jobs: Sequence[Job], at_once: int) -> Iterator[Ended]:
    """Each job in a child of its own; in order of their ends."""
    waiting = list(reversed(range(len(jobs))))
    running: dict[int, tuple[int, Path]] = {}
    with tempfile.TemporaryDirectory(prefix="children-") as folder:
        while waiting or running:
            while waiting and len(running) < at_once:
                number = waiting.pop()
                own = Path(folder) / str(number)
                own.mkdir()
                running[_begin(jobs[number], own)] = number, own
            child, status = os.wait()
            with suppress(ProcessLookupError):
                os.killpg(child, signal.SIGKILL)
            number, own = running.pop(child)
            output = (own / "output").read_text("utf-8", "replace")
            shutil.rmtree(own, ignore_errors=True)
            yield Ended(number, os.waitstatus_to_exitcode(status), output)


def _begin(job: Job, folder: Path) -> int:
    """The child's number."""
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child:
        return child
    status = BROKEN
    try:
        os.setpgid(0, 0)
        with (folder / "output").open("wb") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        tempfile.tempdir = os.environ["PYTEST_DEBUG_TEMPROOT"] = str(folder)
        status = job.act(folder)
    except BaseException:  # noqa: BLE001 whatever it was, the parent is told
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
