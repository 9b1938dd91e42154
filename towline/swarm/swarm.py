"""A swarm: its devices divided among a few processes, which tell their figures as they go.

The process that was asked starts the others, adds their figures up, and ends them all. It plays no
device itself, so that it answers a signal at once.
"""

import asyncio
import gc
import multiprocessing
import resource
import secrets
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from types import FrameType
from typing import Any

import uvloop

from towline.agent.wire import Unreachable
from towline.reconciler.failure_model import Chance, FailureModel
from towline.schemas import root as roots
from towline.schemas.enrolment import JoinString
from towline.schemas.problems import Problem, Refused
from towline.schemas.verifier import root_fingerprint
from towline.swarm.ack_log import AckLog
from towline.swarm.calls import OPENING_AT_ONCE, Calls, Wire
from towline.swarm.device import Device
from towline.swarm.figures import Figures
from towline.swarm.life import Life, Trusted
from towline.swarm.line import Address

FILES_BESIDE = 200
"""What a process has open beside a connection for each device."""
TOLD_S = 2.0
END_S = 10.0


@dataclass(frozen=True, slots=True)
class SwarmSettings:
    """What a swarm is made of."""

    devices: int
    join: JoinString
    ca: Path | None
    """What vouches for the server where the join string pins no certificate."""
    device_type: str
    model: FailureModel
    seed: int
    processes: int
    ack_log: Path | None
    ends_after_s: float | None
    prefix: str
    """Of the devices' ids."""

    @property
    def address(self) -> Address:
        """Where the devices go."""
        return Address(self.join.server, self.join.certificate, self.ca)


def new_prefix() -> str:
    """Another one for each swarm: an id belongs to the key that it was enrolled with."""
    return f"swarm-{secrets.token_hex(2)}"


def run(
    settings: SwarmSettings, tell: Callable[[Figures, Figures, float], None], tell_every_s: float
) -> tuple[Figures, float]:
    """Play until the time is over or a signal comes; the figures and the seconds it took.

    `tell` gets the figures of now and before, and the seconds between. Raises Problem.
    """
    _make_room(-(-settings.devices // settings.processes))
    root = asyncio.run(_first_root(settings))
    context = multiprocessing.get_context("spawn")
    with _stopping() as stop:
        workers: list[_Worker] = []
        for part in range(settings.processes):
            ours, theirs = context.Pipe()
            process = context.Process(target=_play, args=(settings, part, root, theirs))
            process.start()
            theirs.close()
            workers.append(_Worker(process, ours))
        began = time.monotonic()
        try:
            _watch(workers, settings.ends_after_s, stop, tell, tell_every_s)
        finally:
            for worker in workers:
                worker.end()
        return _sum(workers), time.monotonic() - began


@dataclass(slots=True)
class _Worker:
    process: multiprocessing.process.BaseProcess
    pipe: Connection
    figures: Figures | None = None

    def hear(self) -> None:
        """Take the newest figures; raises Problem when the process has ended."""
        try:
            while self.pipe.poll():
                self.figures = self.pipe.recv()
        except EOFError:
            raise Problem(f"a process of the swarm has ended: {self.process.exitcode}") from None

    def end(self) -> None:
        """Tell it to end, and take its last figures."""
        with suppress(OSError):
            self.pipe.send("end")
        with suppress(EOFError, OSError):
            while self.pipe.poll(END_S):
                self.figures = self.pipe.recv()
        self.process.join(END_S)
        if self.process.is_alive():
            self.process.kill()


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


def _make_room(connections: int) -> None:
    """Let a process have so many connections; raises Problem when the system does not."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    need = connections + FILES_BESIDE
    if hard != resource.RLIM_INFINITY and hard < need:
        raise Problem(
            f"{connections} devices in one process need {need} open files; the limit is {hard}",
            remedy="take more --processes, or raise the limit with `ulimit -Hn`",
        )
    if soft < need:
        resource.setrlimit(resource.RLIMIT_NOFILE, (need, hard))


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


def _play(settings: SwarmSettings, part: int, root: bytes, pipe: Connection) -> None:
    """The main function of a process: its share of the devices, until it is told to end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    _make_room(-(-settings.devices // settings.processes))
    # What a device holds lives as long as it does: to look for garbage in it would only be seen
    # as a server that does not answer.
    gc.freeze()
    gc.set_threshold(50_000, 50, 1000)
    uvloop.run(_play_all(settings, part, root, pipe))


async def _play_all(settings: SwarmSettings, part: int, root: bytes, pipe: Connection) -> None:
    # Lines that break are counted where they are asked; uvloop tells of each once more.
    asyncio.get_running_loop().set_exception_handler(_tell_bug)
    figures = Figures()
    address = settings.address
    wire = Wire(address, address.context(), figures, asyncio.Semaphore(OPENING_AT_ONCE))
    ack_log = AckLog(settings.ack_log) if settings.ack_log is not None else None
    trusted = Trusted(_trusted_root(root, settings.join))
    lives = [
        Life(
            Device(number, f"{settings.prefix}-{number:06}", settings.join.organization,
                   settings.device_type),
            wire,
            trusted,
            settings.model,
            Chance(f"{settings.seed} {number}"),
            ack_log,
        )
        for number in range(part + 1, settings.devices + 1, settings.processes)
    ]  # fmt: skip
    tasks = [asyncio.ensure_future(life.live(settings.join.token)) for life in lives]
    while not _is_ended(pipe):
        _tell(pipe, figures, lives)
        await asyncio.sleep(TOLD_S)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    if ack_log is not None:
        await ack_log.close()
    _tell(pipe, figures, lives)
    pipe.close()


def _tell_bug(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    if "transport" not in context:
        loop.default_exception_handler(context)


def _trusted_root(data: bytes, join: JoinString) -> roots.Root:
    try:
        return roots.trust_first(data, join.organization)
    except Refused as refused:
        raise Problem(f"the root of {join.server} is not valid: {refused}") from None


def _is_ended(pipe: Connection) -> bool:
    """Whether the end was told, or nobody is there any more who could tell it."""
    try:
        return pipe.poll() and pipe.recv() == "end"
    except EOFError:
        return True


def _tell(pipe: Connection, figures: Figures, lives: Sequence[Life]) -> None:
    figures.devices.clear()
    figures.versions.clear()
    for life in lives:
        figures.devices[life.at] += 1
        for name, installed in life.device.versions().items():
            figures.versions[f"{name} {installed.version}"] += 1
    figures.processor_s = time.process_time()
    with suppress(OSError):
        pipe.send(figures)
