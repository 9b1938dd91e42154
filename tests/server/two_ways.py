"""The two ways by which a device's calls come in, past ASGI and through it, side by side.

Both ways are real connections of one server's parts; only its sockets are pairs, and the inlet
is one that writes down what it is given.
"""

import asyncio
import socket
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

import pytest
import uvicorn
import uvloop
from uvicorn.server import ServerState

from tests.reconciler.simulation import ORGANIZATION, RELEASE_KEY
from tests.server.begun import begin
from towline.reconciler.server.clock_guard import ClockGuard
from towline.reconciler.server.device import DeviceProtocol
from towline.reconciler.server.device_connection import connections
from towline.reconciler.server.device_rates import DeviceRates, RateLimits
from towline.reconciler.server.doorbell import Doorbell
from towline.reconciler.server.fleets import Fleets, FleetView
from towline.reconciler.server.inlet import Full, Inlet
from towline.reconciler.server.letters import Told
from towline.reconciler.server.polls import Polls
from towline.reconciler.server.receipts import Receipts
from towline.reconciler.server.reporting import Reporting
from towline.reconciler.server.served_documents import ServedDocuments
from towline.reconciler.server.sessions import Session, Sessions
from towline.reconciler.server.traces import Traces
from towline.reconciler.server.wire import Receive, Scope, Send
from towline.reconciler.store.engine import Store
from towline.reconciler.tallies import DeviceTally
from towline.schemas.reports import Heard, Report

FAR = 9_000_000_000
DEVICE = 1
both_ways = pytest.mark.parametrize("way", ["past", "through"])


@dataclass
class Sent:
    """What a client says, piece by piece, and how many answers it gets."""

    pieces: list[bytes]
    answers: int = 1
    asgi: int = 0
    """How many of its requests are not answered past ASGI."""


class Noted:
    """Stands for the inlet: what calls leave there, and what becomes of reports."""

    def __init__(self) -> None:
        self.seen_: list[int] = []
        self.handed: list[tuple[int, Sequence[Report]]] = []
        self.error: Exception | None = None
        self.is_holding = False
        """Nothing is told before the test does."""
        self.held: list[Told] = []

    def seen(self, of: Traces, _now: int) -> None:
        self.seen_.append(of.device_seq)

    def fetched(self, device_seq: int, _components: Sequence[str]) -> None:
        self.seen_.append(-device_seq)

    def hand_in(self, device_seq: int, reports: Sequence[Report], told: Told) -> None:
        if isinstance(self.error, Full):
            raise self.error
        self.handed.append((device_seq, reports))
        self.held.append(told)
        if not self.is_holding:
            asyncio.get_running_loop().call_soon(self.let_go)

    def let_go(self) -> None:
        """All that was handed in is committed, or cannot be."""
        held, self.held = self.held, []
        for told in held:
            told(None if self.error else Heard(1, 7), self.error)


@dataclass
class Parts:
    """What a server is made of as far as a device's calls go, and how each way fared."""

    polls: Polls
    reporting: Reporting
    tally: DeviceTally
    inlet: Noted
    protocol: DeviceProtocol
    asgi: int = 0
    states: dict[str, ServerState] = field(default_factory=dict)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.asgi += 1
        await self.protocol(scope, receive, send)

    async def connect(self, way: str, idle_s: float = 5) -> "Client":
        """A connection of which the server's side goes this way."""
        http: Any = connections(self.polls, self.reporting) if way == "past" else "httptools"
        config = uvicorn.Config(
            self, http=http, lifespan="off", log_config=None, timeout_keep_alive=cast(int, idle_s)
        )
        config.load()
        self.states[way] = state = self.states.get(way, ServerState())
        state.default_headers = [(b"server", b"x")]
        kind: Any = config.http_protocol_class
        make = partial(kind, config, state, {})
        ours, theirs = socket.socketpair()
        loop = asyncio.get_running_loop()
        await loop.connect_accepted_socket(make, theirs)
        return Client(*await asyncio.open_connection(sock=ours))


@dataclass
class Client:
    """Sends pieces, and reads answers."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    got: bytes = b""

    async def send(self, piece: bytes) -> None:
        """Send a piece, and let the server read it."""
        self.writer.write(piece)
        for _ in range(3):
            await asyncio.sleep(0)

    async def read(self, answers: int) -> bytes:
        """All that comes until so many answers are whole, and what comes right behind them."""
        while self.got.count(b"HTTP/1.1 ") < answers or not _is_whole(self.got):
            part = await asyncio.wait_for(self.reader.read(65536), 10)
            if not part:
                return self.got + b"<closed>"
            self.got += part
        try:
            part = await asyncio.wait_for(self.reader.read(65536), 0.01)
        except TimeoutError:
            return self.got
        return self.got + (part or b"<closed>")


def _is_whole(answers: bytes) -> bool:
    """Whether the last of the answers has all of its body; 304 and HEAD have none."""
    head, end, body = answers.rpartition(b"HTTP/1.1 ")[2].partition(b"\r\n\r\n")
    length = [line for line in head.split(b"\r\n") if line.startswith(b"content-length: ")]
    return bool(end) and (not length or not body or len(body) >= int(length[0].split()[1]))


def parts_on(store: Store) -> Parts:
    """A device `right` and its sessions."""
    sessions, doorbell, tally = Sessions(), Doorbell(), DeviceTally()
    for number, (token, expires, organization) in enumerate(
        (("right", FAR, ORGANIZATION), ("expired", 1, ORGANIZATION), ("foreign", FAR, "foreign"))
    ):
        device = DEVICE + number
        begin(sessions, token, Session(device, f"d{device}", "f" * 64, expires, organization))
    noted = Noted()
    inlet = cast(Inlet, noted)
    view = FleetView(ORGANIZATION, lambda: RELEASE_KEY, lambda: (b"{}",), dict, lambda: None)
    fleets = Fleets([view])
    documents = ServedDocuments(store, doorbell, fleets.key, 300)
    rates = DeviceRates(RateLimits())
    polls = Polls(
        sessions=sessions,
        documents=documents,
        doorbell=doorbell,
        inlet=inlet,
        fleets=fleets,
        poll_interval_s=300,
        rates=rates,
        tally=tally,
        clock=ClockGuard(store, is_accepted=True),
    )
    receipts = Receipts(fleets.key_if_any)
    reporting = Reporting(polls=polls, inlet=inlet, receipts=receipts, tally=tally)
    protocol = DeviceProtocol(
        strangers=cast(Any, None),
        sessions=sessions,
        polls=polls,
        reporting=reporting,
        old_devices=cast(Any, None),
        fleets=fleets,
        tally=tally,
    )
    return Parts(polls, reporting, tally, noted, protocol)


def run(story: Coroutine[Any, Any, None]) -> None:
    uvloop.run(asyncio.wait_for(story, 30))
