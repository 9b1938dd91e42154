"""A swarm: its devices divided among a few processes, which tell their figures as they go.

The process that was asked starts the others, adds their figures up, and ends them all. It plays no
device itself, so that it answers a signal at once.
"""

import asyncio
import multiprocessing
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from types import FrameType

from towline.agent.wire import Unreachable
from towline.schemas.problems import Problem
from towline.schemas.verifier import root_fingerprint
from towline.swarm.calls import Calls, Wire
from towline.swarm.device import Device
from towline.swarm.figures import Figures
from towline.swarm.settings import SwarmSettings
from towline.swarm.worker import TOLD_S, make_room, play

END_S = 10.0


def run(
    settings: SwarmSettings, tell: Callable[[Figures, Figures, float], None], tell_every_s: float
) -> tuple[Figures, float]:
    """Play until the time is over or a signal comes; the figures and the seconds it took.

    `tell` gets the figures of now and before, and the seconds between. Raises Problem.
    """
    make_room(settings)
    root = asyncio.run(_first_root(settings))
    context = multiprocessing.get_context("spawn")
    with _stopping() as stop:
        workers: list[_Worker] = []
        for part in range(settings.processes):
            ours, theirs = context.Pipe()
            process = context.Process(target=play, args=(settings, part, root, theirs))
            process.start()
            theirs.close()
            workers.append(_Worker(process, ours))
        began = time.monotonic()
        try:
            _watch(workers, settings.ends_after_s, stop, tell, tell_every_s)
        finally:
            for worker in workers:
                worker.end()
        # A process may fail in its last moments as well, over what it still had to write.
        for worker in workers:
            worker.check()
        return _sum(workers), time.monotonic() - began


@dataclass(slots=True)
class _Worker:
    process: multiprocessing.process.BaseProcess
    pipe: Connection
    figures: Figures | None = None
    problem: Problem | None = None
    """What it failed by."""

    def hear(self) -> None:
        """Take the newest figures; raises Problem when the process has failed or ended."""
        try:
            while self.pipe.poll():
                self._take(self.pipe.recv())
        except (EOFError, OSError):
            self.process.join(END_S)
            raise self._ended() from None
        self.check()

    def end(self) -> None:
        """Tell it to end, and take its last figures, or what it failed by."""
        with suppress(OSError):
            self.pipe.send("end")
        with suppress(EOFError, OSError):
            while self.pipe.poll(END_S):
                self._take(self.pipe.recv())
        self.process.join(END_S)
        if self.process.is_alive():
            self.process.kill()
        elif self.process.exitcode:
            self.problem = self._ended()

    def check(self) -> None:
        """Raises Problem when the process has failed."""
        if self.problem is not None:
            raise self.problem

    def _take(self, told: Figures | Problem) -> None:
        if isinstance(told, Problem):
            self.problem = told
        else:
            self.figures = told

    def _ended(self) -> Problem:
        return self.problem or Problem(
            f"a process of the swarm has ended with exit code {self.process.exitcode}",
            remedy="what it wrote says why; if it wrote nothing, it may have lacked memory",
        )


def _watch(
    workers: Sequence[_Worker],
    ends_after_s: float | None,
    stop: list[int],
    tell: Callable[[Figures, Figures, float], None],
    tell_every_s: float,
) -> None:
    began = told_at = time.monotonic()
    before = Figures()
    while not stop and (ends_after_s is None or time.monotonic() - began < ends_after_s):
        wait([worker.pipe for worker in workers], timeout=TOLD_S / 4)
        for worker in workers:
            worker.hear()
        passed = time.monotonic() - told_at
        if passed >= tell_every_s:
            now = _sum(workers)
            tell(now, before, passed)
            before, told_at = now, time.monotonic()


def _sum(workers: Sequence[_Worker]) -> Figures:
    total = Figures()
    for worker in workers:
        total.add(worker.figures or Figures())
    return total


@contextmanager
def _stopping() -> Iterator[list[int]]:
    """A list that is no longer empty once SIGINT or SIGTERM came."""
    came: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        came.append(number)

    former = {each: signal.signal(each, note) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield came
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


async def _first_root(settings: SwarmSettings) -> bytes:
    """Root 1 as the server has it, if it is the one that the join string names."""
    join = settings.join
    wire = Wire(settings.address, settings.address.context(), Figures(), asyncio.Semaphore())
    calls = Calls(Device(0, "swarm", join.organization, settings.device_type), wire)
    try:
        data = await calls.root(1)
    except Unreachable as error:
        raise Problem(
            f"no server answers at {join.server}: {error}", remedy="start it with `towline serve`"
        ) from None
    finally:
        calls.close()
    if data is None or root_fingerprint(data) != join.root:
        raise Problem(f"{join.server} is not the server that the join string names")
    return data
