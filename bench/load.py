"""A client that is no bottleneck: prepared requests over kept connections, answers only counted.

Every answer must have the one status that is asked for, and no body: 304 and 204 have none.
"""

import asyncio
import os
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import uvloop

from bench.machine import processor_s

T = TypeVar("T")

WARM_UP_S = 0.3
TICK_S = 1 / os.sysconf("SC_CLK_TCK")
"""The processor's time is known to this much."""
_END = b"\r\n\r\n"


class Unexpected(Exception):
    """An answer of another status."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a server did under load."""

    requests: int
    seconds: float
    processor_s: float

    @property
    def per_s(self) -> float:
        """Answers in a second."""
        return self.requests / self.seconds

    @property
    def processor_us(self) -> float:
        """What the server took of the processor for each; one tick of its clock is the least."""
        return max(self.processor_s, TICK_S) * 1e6 / max(1, self.requests)


Requests = Callable[[], bytes]
"""The next request of a connection."""


def load(
    port: int,
    pid: int,
    status: int,
    connections: Sequence[Requests],
    seconds: float,
    *,
    is_awake: bool = False,
) -> Loaded:
    """Keep all connections busy for so long; `is_awake`: see `awake`."""
    loading = _load(port, pid, status, connections, seconds)
    return uvloop.run(awake(loading) if is_awake else loading)


async def awake(story: Coroutine[Any, Any, T]) -> T:
    """What it returns; meanwhile its loop looks for answers without ever sleeping."""
    loop, is_over = asyncio.get_running_loop(), False

    def look_again() -> None:
        if not is_over:
            loop.call_soon(look_again)

    look_again()
    try:
        return await story
    finally:
        is_over = True


async def _load(
    port: int, pid: int, status: int, connections: Sequence[Requests], seconds: float
) -> Loaded:
    loop = asyncio.get_running_loop()
    lines = [Line(each, b" %d " % status) for each in connections]
    for line in lines:
        await loop.create_connection(lambda line=line: line, "127.0.0.1", port)  # type: ignore[misc]
    try:
        await asyncio.sleep(WARM_UP_S)
        before, taken, began = sum(x.answered for x in lines), processor_s(pid), time.monotonic()
        await asyncio.sleep(seconds)
        answered = sum(line.answered for line in lines) - before
        found = Loaded(answered, time.monotonic() - began, processor_s(pid) - taken)
    finally:
        await asyncio.gather(*(line.end() for line in lines))
    for line in lines:
        if line.unexpected:
            raise Unexpected(line.unexpected.decode(errors="replace"))
    return found


class Line(asyncio.Protocol):
    """One connection: the next request goes out as soon as an answer is there."""

    def __init__(self, requests: Requests, status: bytes) -> None:
        self._requests = requests
        self._status = status
        self._part = b""
        self._ended: asyncio.Future[None] | None = None
        self.answered = 0
        self.slowest_s = 0.0
        self.unexpected = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.go_on()

    def go_on(self) -> None:
        """An answer is there, or the connection is new."""
        self.send()

    def send(self) -> None:
        """The next request."""
        self._sent_at = time.monotonic()
        self._transport.write(self._requests())

    def data_received(self, data: bytes) -> None:
        self._part += data
        if _END not in self._part:
            return
        head, self._part = self._part, b""
        if self._status not in head[:14]:
            self.unexpected = head
            self._transport.close()
            return
        self.answered += 1
        self.slowest_s = max(self.slowest_s, time.monotonic() - self._sent_at)
        if self._ended is None:
            self.go_on()
        else:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._ended is None:
            self.unexpected = (
                self.unexpected or b"the server closed the connection: %r" % self._part
            )
        elif not self._ended.done():
            self._ended.set_result(None)

    async def end(self) -> None:
        """Take the answer that is on its way, and close."""
        if not self.unexpected:
            self._ended = asyncio.get_running_loop().create_future()
            await asyncio.wait_for(self._ended, 30)
