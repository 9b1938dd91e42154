"""Ten thousand polls that wait: what each costs in memory, and how soon all are answered.

A change of every device's document is written and the doorbell rings for all; each answer is a
document that is read from the store and signed for that device.
"""

import asyncio
import statistics
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import cast

import uvloop

from bench import idle
from bench.figures import Measured
from bench.fleet import fill
from bench.machine import memory_kib, processor_s
from bench.polls import poll_of, prepared
from bench.processes import Server, open_many_files, started

QUERY = "?wait=60"
AT_ONCE = 500
"""So many connect at a time."""
PATIENCE_S = 60


def measure(devices: int, repeats: int) -> Measured:
    """The row."""
    open_many_files()
    alone, asked = idle.measured_mb(0)
    knowing, _ = idle.measured_mb(devices)
    each_kb = (knowing - alone) * 1000 / devices
    found = _waiting(devices, repeats)
    details = [
        f"`towline serve` at rest takes {alone:.1f} MB, after a person asked {asked:.1f};"
        f" with {devices:,} devices and their sessions {knowing:.1f}, {each_kb:.2f} KB each",
        *found.details,
    ]
    return Measured({"server-idle": alone, **found.values}, details)


def _waiting(devices: int, repeats: int) -> Measured:
    with tempfile.TemporaryDirectory() as folder:
        fill(Path(folder), devices)
        with started({"towline": ("bench.served", folder)}) as servers:
            return uvloop.run(_measure(servers["towline"], devices, repeats))


async def _measure(server: Server, devices: int, repeats: int) -> Measured:
    resting = memory_kib(server.pid)
    # Who polls at all has its content in memory; only what waiting costs is to be seen.
    polls = prepared(server, devices, QUERY)
    empty = memory_kib(server.pid)
    full, woken_s, taken_s = 0, [], []
    for _ in range(repeats):
        lines = await _parked(server, polls)
        full = full or memory_kib(server.pid)
        began, before = time.monotonic(), processor_s(server.pid)
        await asyncio.to_thread(server.ask, "change")
        etags = await _answers(lines)
        woken_s.append(time.monotonic() - began)
        taken_s.append(processor_s(server.pid) - before)
        polls = [poll_of(seq, etag, QUERY) for seq, etag in enumerate(etags, 1)]
        for line in lines:
            line.transport.close()
    woken, each_kib = statistics.median(woken_s), (full - empty) / devices
    details = [
        f"{devices:,} polls wait: {each_kib:.1f} KiB each",
        f"what serves them takes {_mb(resting):.0f} MB at rest, with their documents"
        f" {_mb(empty):.0f}, with all waiting {_mb(full):.0f},"
        f" after {repeats} changes of all {_mb(memory_kib(server.pid)):.0f}",
        f"all answered within {woken:.2f} s ({min(woken_s):.2f} to {max(woken_s):.2f}),"
        f" {statistics.median(taken_s) * 1e6 / devices:.0f} µs of processor each",
    ]
    values = {"parked-memory": each_kib, "parked-woken": woken}
    return Measured(values | {"server-parked": _mb(full)}, details)


def _mb(kib: int) -> float:
    return kib * 1024 / 1e6


async def _parked(server: Server, polls: Sequence[bytes]) -> "list[_Line]":
    """Send all polls, and wait until the server says that all of them wait."""
    loop = asyncio.get_running_loop()
    lines = [_Line(poll) for poll in polls]
    for first in range(0, len(lines), AT_ONCE):
        some = lines[first : first + AT_ONCE]
        await asyncio.gather(
            *(
                loop.create_connection(partial(_same, each), "127.0.0.1", server.port)
                for each in some
            )
        )
        # Not ahead of what the server accepts: it drops whoever finds no room in its queue.
        await _all_wait(server, first + len(some))
    return lines


async def _all_wait(server: Server, polls: int) -> None:
    ends_at = time.monotonic() + PATIENCE_S
    while (parked := await asyncio.to_thread(server.ask, "parked")) < polls:
        assert time.monotonic() < ends_at, f"only {parked} of {polls} polls wait"
        await asyncio.sleep(0.02)


def _same(line: "_Line") -> "_Line":
    return line


async def _answers(lines: "Sequence[_Line]") -> list[str]:
    _, silent = await asyncio.wait([line.answered for line in lines], timeout=PATIENCE_S)
    assert not silent, f"{len(silent)} of {len(lines)} polls have no answer"
    return [line.answered.result() for line in lines]


class _Line(asyncio.Protocol):
    """One device's connection; `answered` is the ETag of the document that it gets."""

    def __init__(self, poll: bytes) -> None:
        self.answered: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._poll = poll
        self._part = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.write(self._poll)

    def data_received(self, data: bytes) -> None:
        self._part += data
        head, end, body = self._part.partition(b"\r\n\r\n")
        headers = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:] if b": " in line)
        if end and len(body) == int(headers.get(b"content-length", 0)):
            assert b" 200 " in head, head
            self.answered.set_result(headers[b"etag"].decode())
