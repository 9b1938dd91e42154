"""Unchanged polls while a server does all of its other work for devices at once.

Reports come at half of the rate at which they are acknowledged alone, and as many documents as
there are other devices are made, signed and sent; until the last of them the polls are counted.
"""

import asyncio
import itertools
import statistics
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import uvloop

from bench import polls, reports
from bench.figures import Measured
from bench.fleet import fill
from bench.load import Line, Requests, Unexpected, load
from bench.machine import processor_s
from bench.processes import Server, started

TICK_S = 0.01
ENOUGH = 0.9
"""Reports come as often as they are to when so much of their rate is reached."""
ASKING = 256
"""Connections over which documents are fetched."""


@dataclass(frozen=True, slots=True)
class Mix:
    """What was done at once."""

    seconds: float
    polls: int
    slowest_s: float
    reports: int
    processor_s: float


def measure(size: polls.Size, documents: int) -> Measured:
    """The row."""
    pollers = size.connections * polls.DEVICES_EACH
    devices = max(pollers, size.connections * reports.DEVICES_EACH) + documents
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        fill(folder, devices)
        server = stack.enter_context(started({"it": ("bench.served", str(folder))}))["it"]
        known = polls.prepared(server, pollers)
        polling = [
            itertools.cycle(known[first :: size.connections]).__next__
            for first in range(size.connections)
        ]
        numbers = itertools.count(reports.FIRST)
        telling = [reports.connection_of(n, numbers, size) for n in range(size.connections)]
        before = _alone(server, polling, size)
        ceiling = load(server.port, server.pid, 204, telling, size.seconds).per_s
        fetching = [polls.poll_of(seq, "") for seq in range(devices - documents + 1, devices + 1)]
        mix = uvloop.run(_mixed(server, polling, telling, ceiling / 2, fetching))
        # Other work on the machine changes meanwhile: the mean of before and after is compared.
        after = _alone(server, polling, size)
    alone = (before + after) / 2
    share = 100 * mix.polls / mix.seconds / alone
    values = {"mixed-share": share, "mixed-slowest": mix.slowest_s}
    details = [
        f"polls alone {before:,.0f}/s before and {after:,.0f}/s after, reports alone"
        f" {ceiling:,.0f}/s",
        f"in {mix.seconds:.1f} s {documents:,} documents, {mix.reports / mix.seconds:,.0f}"
        f" reports/s and {mix.polls / mix.seconds:,.0f} polls/s, the slowest in"
        f" {mix.slowest_s:.2f} s; {100 * mix.processor_s / mix.seconds:.0f} % of a processor",
    ]
    missing = short_of(ceiling / 2, mix.reports / mix.seconds)
    return Measured(values, details, unmet=dict.fromkeys(values, missing) if missing else {})


def short_of(asked: float, told: float) -> str | None:
    """Pure: what is to be said when fewer reports a second came than were to; None: enough did."""
    if told >= ENOUGH * asked:
        return None
    return (
        f"reports were to come at half their ceiling, {asked:,.0f}/s, and came at {told:,.0f}/s:"
        f" {100 * told / asked:.0f} % of that, {50 * told / asked:.0f} % of the ceiling"
    )


def _alone(server: Server, polling: Sequence[Requests], size: polls.Size) -> float:
    """Polls a second, and nothing else."""
    runs = (load(server.port, server.pid, 304, polling, size.seconds) for _ in range(size.repeats))
    return statistics.median(run.per_s for run in runs)


async def _mixed(
    server: Server,
    polling: Sequence[Requests],
    telling: Sequence[Requests],
    per_s: float,
    fetching: Sequence[bytes],
) -> Mix:
    loop = asyncio.get_running_loop()
    idle: asyncio.Queue[_Paced] = asyncio.Queue()
    pollers = [Line(each, b" 304 ") for each in polling]
    tellers = [_Paced(each, b" 204 ", idle) for each in telling]
    for line in (*pollers, *tellers):
        await loop.create_connection(lambda line=line: line, "127.0.0.1", server.port)  # type: ignore[misc]
    pace = asyncio.ensure_future(_keep_pace(idle, per_s))
    before, began = sum(line.answered for line in pollers), time.monotonic()
    taken = processor_s(server.pid)
    shares = [fetching[first::ASKING] for first in range(ASKING)]
    await asyncio.gather(*(_fetch(server.port, share) for share in shares))
    seconds, taken = time.monotonic() - began, processor_s(server.pid) - taken
    polled = sum(line.answered for line in pollers) - before
    told = sum(line.answered for line in tellers)
    pace.cancel()
    await asyncio.gather(*(line.end() for line in (*pollers, *tellers)))
    for line in (*pollers, *tellers):
        if line.unexpected:
            raise Unexpected(line.unexpected.decode(errors="replace"))
    return Mix(seconds, polled, max(line.slowest_s for line in pollers), told, taken)


class _Paced(Line):
    """One whose next request goes out when it is its turn."""

    def __init__(self, requests: Requests, status: bytes, idle: "asyncio.Queue[_Paced]") -> None:
        super().__init__(requests, status)
        self._idle = idle
        self._is_idle = False

    def go_on(self) -> None:
        """Wait for a turn."""
        self._is_idle = True
        self._idle.put_nowait(self)

    def send(self) -> None:
        """It is its turn."""
        self._is_idle = False
        super().send()

    async def end(self) -> None:
        """Take the answer that is on its way, if there is one, and close."""
        if self._is_idle:
            asyncio.get_running_loop().call_soon(self._transport.close)
        await super().end()


async def _keep_pace(idle: "asyncio.Queue[_Paced]", per_s: float) -> None:
    """So many requests a second; what a busy server could not take in time is not made up for."""
    while True:
        began = time.monotonic()
        for _ in range(round(per_s * TICK_S)):
            if idle.empty():
                break
            idle.get_nowait().send()
        await asyncio.sleep(max(0.0, TICK_S - (time.monotonic() - began)))


async def _fetch(port: int, requests: Sequence[bytes]) -> None:
    """One document after the other."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for request in requests:
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        if b" 200 " not in head[:14]:
            raise Unexpected(head.decode(errors="replace"))
        (length,) = (
            line.partition(b":")[2] for line in head.splitlines() if b"content-length" in line
        )
        await reader.readexactly(int(length))
    writer.close()
