"""One process of a swarm: plays its share of the devices, and tells its figures over a pipe.

It ends when it is told to, when nobody is there any more who could tell it, or when it fails; then
the last thing it tells is the Problem, for the process that began it to say and to end the others.
"""

import asyncio
import gc
import resource
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

import structlog
import uvloop

from towline.reconciler.failure_model import Chance
from towline.schemas import root as roots
from towline.schemas.enrolment import JoinString
from towline.schemas.problems import Problem, Refused
from towline.swarm.ack_log import AckLog
from towline.swarm.calls import OPENING_AT_ONCE, Wire
from towline.swarm.device import Device
from towline.swarm.figures import Figures
from towline.swarm.life import Life, Trusted
from towline.swarm.settings import SwarmSettings

FILES_BESIDE = 200
"""What a process has open beside a connection for each device."""
TOLD_S = 2.0
"""Between two times that the figures are told."""


def make_room(settings: SwarmSettings) -> None:
    """Let a process have a connection for each device; raises Problem when the system does not."""
    connections = -(-settings.devices // settings.processes)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    need = connections + FILES_BESIDE
    if hard != resource.RLIM_INFINITY and hard < need:
        raise Problem(
            f"{connections} devices in one process need {need} open files; the limit is {hard}",
            remedy="take more --processes, or raise the limit with `ulimit -Hn`",
        )
    if soft < need:
        resource.setrlimit(resource.RLIMIT_NOFILE, (need, hard))


def play(settings: SwarmSettings, part: int, root: bytes, pipe: Connection) -> None:
    """The main function of a process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    # On stdout are the figures, which a program may read.
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    try:
        make_room(settings)
        # What a device holds lives as long as it does: to look for garbage in it would only be
        # seen as a server that does not answer.
        gc.freeze()
        gc.set_threshold(50_000, 50, 1000)
        uvloop.run(_play_all(settings, part, root, pipe))
    except Problem as problem:
        with suppress(OSError):
            pipe.send(problem)
    pipe.close()


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
    try:
        while not _is_ended(pipe):
            _tell(pipe, figures, lives)
            await _pass(ack_log, TOLD_S)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    if ack_log is not None:
        await ack_log.close()
    _tell(pipe, figures, lives)


async def _pass(ack_log: AckLog | None, seconds: float) -> None:
    """Let so much time pass; raises Problem as soon as the log cannot be written."""
    if ack_log is None:
        await asyncio.sleep(seconds)
    else:
        await ack_log.watch(seconds)


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
