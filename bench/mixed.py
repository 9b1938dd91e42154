"""Unchanged polls while a server does all of its other work for devices at once, on both engines.

Reports come at half of the rate at which they are acknowledged alone, and as many documents as
there are other devices are made, signed and sent; until the last of them the polls are counted.
That is done in turns, each between polls alone and behind reports alone, as the machine is not as
quick at all times. Polls and reports come over the same connections alone and beside the others.
The load never sleeps, whatever it waits for: on one machine to wake it costs the server, and where
it polls less it would have to be woken more often.
"""

import asyncio
import itertools
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import uvloop

from bench import polls, reports
from bench.durable import LEFT_OUT, SETTINGS, durable, gone_by
from bench.figures import Measured
from bench.fleet import fill
from bench.load import Line, Requests, Unexpected, awake, load
from bench.machine import processor_s
from bench.processes import Server, started
from tests import stores
from tests.postgres import Databases

TICK_S = 0.01
TELLERS = 8
"""For each connection that polls: a report's answer takes several rounds of a full loop, and over
too few connections fewer reports would come than are to."""
TURNS = 5
ENOUGH = 0.9
"""Reports come as often as they are to when so much of their rate is reached."""
KEYS = ("mixed-share", "mixed-slowest")
ON_POSTGRES = "-postgres"
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

    @property
    def told_per_s(self) -> float:
        """Reports in a second."""
        return self.reports / self.seconds


@dataclass(frozen=True, slots=True)
class Turn:
    """What was done at once, and what alone around it, in a second."""

    alone: float
    """Polls."""
    ceiling: float
    """Reports."""
    documents: int
    mix: Mix

    @property
    def share(self) -> float:
        """Percent of the polls alone."""
        return 100 * self.mix.polls / self.mix.seconds / self.alone

    @property
    def words(self) -> str:
        """For people."""
        mix = self.mix
        return (
            f"alone {self.alone:,.0f} polls/s, {self.ceiling:,.0f} reports/s;"
            f" in {mix.seconds:.1f} s {self.documents:,} documents, {mix.told_per_s:,.0f} reports/s"
            f" and {mix.polls / mix.seconds:,.0f} polls/s: {self.share:.0f} %, the slowest in"
            f" {mix.slowest_s:.2f} s; {100 * mix.processor_s / mix.seconds:.0f} % of a processor"
        )


def measure(size: polls.Size, documents: int) -> Measured:
    """The row."""
    measured = _told("", _turns(size, documents, None))
    with durable() as databases:
        if databases is None:
            left_out = dict.fromkeys((f"{each}{ON_POSTGRES}" for each in KEYS), LEFT_OUT)
            return replace(measured, left_out=left_out)
        gone = gone_by(databases.setting, SETTINGS)
        other = _told(ON_POSTGRES, _turns(size, documents, databases))
    unmet = dict.fromkeys(other.values, gone.problem) if gone.problem else {}
    return Measured(
        {**measured.values, **other.values},
        [*measured.details, "on Postgres:", *other.details, gone.words],
        unmet={**measured.unmet, **other.unmet, **unmet},
    )


def _turns(size: polls.Size, documents: int, databases: Databases | None) -> list[Turn]:
    """What was found on one engine; None: on SQLite."""
    pollers = size.connections * polls.DEVICES_EACH
    many = replace(size, connections=TELLERS * size.connections)
    devices = max(pollers, many.connections * reports.DEVICES_EACH) + documents
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = stack.enter_context(_server(folder, devices, databases))
        known = polls.prepared(server, pollers)
        polling = [
            itertools.cycle(known[first :: size.connections]).__next__
            for first in range(size.connections)
        ]
        numbers = itertools.count(reports.FIRST)
        telling = [reports.connection_of(n, numbers, many) for n in range(many.connections)]
        fetching = [polls.poll_of(seq, "") for seq in range(devices - documents + 1, devices + 1)]
        _alone(server, telling, 204, size)  # what the devices run is news, once
        turns, after = [], _alone(server, polling, 304, size)
        for first in range(TURNS):
            before, ceiling = after, _alone(server, telling, 204, size)
            own = fetching[first::TURNS]
            mix = uvloop.run(awake(_mixed(server, polling, telling, ceiling / 2, own)))
            after = _alone(server, polling, 304, size)
            turns.append(Turn((before + after) / 2, ceiling, len(own), mix))
    return turns


@contextmanager
def _server(folder: Path, devices: int, databases: Databases | None) -> Iterator[Server]:
    """Of so many devices."""
    command = ["bench.served", str(folder)]
    if databases is None:
        fill(folder, devices)
    else:
        with stores.on(databases):
            fill(folder, devices)
            command.append(str(stores.place_of(folder / "towline.db")))
    with started({"it": tuple(command)}) as servers:
        yield servers["it"]


def _told(engine: str, turns: Sequence[Turn]) -> Measured:
    """The figures of what was found on an engine."""
    share = statistics.median(turn.share for turn in turns)
    slowest = max(turn.mix.slowest_s for turn in turns)
    values = {f"{key}{engine}": value for key, value in zip(KEYS, (share, slowest), strict=True)}
    missing = short_of(
        statistics.median(turn.ceiling / 2 for turn in turns),
        statistics.median(turn.mix.told_per_s for turn in turns),
    )
    details = [turn.words for turn in turns]
    return Measured(values, details, unmet=dict.fromkeys(values, missing) if missing else {})


def short_of(asked: float, told: float) -> str | None:
    """Pure: what is to be said when fewer reports a second came than were to; None: enough did."""
    if told >= ENOUGH * asked:
        return None
    return (
        f"reports were to come at half their ceiling, {asked:,.0f}/s, and came at {told:,.0f}/s:"
        f" {100 * told / asked:.0f} % of that, {50 * told / asked:.0f} % of the ceiling"
    )


def _alone(server: Server, requests: Sequence[Requests], status: int, size: polls.Size) -> float:
    """Such answers a second, and nothing else."""
    return load(server.port, server.pid, status, requests, size.seconds, is_awake=True).per_s


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
    asking = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(ASKING)]
    pace = asyncio.ensure_future(_keep_pace(idle, per_s))
    before, began = sum(line.answered for line in pollers), time.monotonic()
    taken = processor_s(server.pid)
    shares = (fetching[first::ASKING] for first in range(ASKING))
    await asyncio.gather(
        *(_fetch(*line, share) for line, share in zip(asking, shares, strict=True))
    )
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
    due, last = 0.0, time.monotonic()
    while True:
        now = time.monotonic()
        due, last = due + per_s * (now - last), now
        while due >= 1 and not idle.empty():
            idle.get_nowait().send()
            due -= 1
        due = min(due, 1.0)
        await asyncio.sleep(TICK_S)


async def _fetch(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, requests: Sequence[bytes]
) -> None:
    """One document after the other."""
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
