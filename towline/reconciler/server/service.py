"""The HTTP server put together: devices in front as raw ASGI, monitoring, people behind.

Owns the inlet's thread; reconcilers are known only by the callables in `FleetView`.
"""

import asyncio
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import uvicorn
from starlette.types import ASGIApp

from towline.reconciler.server import monitoring
from towline.reconciler.server.admission import Admission
from towline.reconciler.server.buckets import Buckets
from towline.reconciler.server.callers import failures
from towline.reconciler.server.clock_guard import ClockGuard
from towline.reconciler.server.desk import Desk, Desks, seen_after
from towline.reconciler.server.device import DeviceProtocol
from towline.reconciler.server.device_rates import GENEROUS, DeviceRates, RateLimits
from towline.reconciler.server.doorbell import AT_ONCE, Doorbell
from towline.reconciler.server.feed import Feed
from towline.reconciler.server.fleets import Fleets, FleetView
from towline.reconciler.server.front import Application, Closed, MadeWhenAsked
from towline.reconciler.server.hearing import Hearing
from towline.reconciler.server.inlet import Inlet
from towline.reconciler.server.known_uvicorn import USUAL, connections
from towline.reconciler.server.live import Live
from towline.reconciler.server.manifest_texts import ManifestTexts
from towline.reconciler.server.metrics import Meters
from towline.reconciler.server.oidc import Provider
from towline.reconciler.server.oidc_settings import OidcSettings
from towline.reconciler.server.old_devices import OldDevices
from towline.reconciler.server.package_look import PackageLook
from towline.reconciler.server.packages import Packages
from towline.reconciler.server.polls import Polls
from towline.reconciler.server.receipts import Receipts
from towline.reconciler.server.reporting import Reporting
from towline.reconciler.server.served_documents import ServedDocuments
from towline.reconciler.server.sessions import Sessions
from towline.reconciler.server.strangers import Strangers
from towline.reconciler.server.tls import Certificate
from towline.reconciler.store.bound import bound_to
from towline.reconciler.store.engine import Store, is_postgres
from towline.reconciler.tallies import DeviceTally

END_SIGNALS = (signal.SIGTERM, signal.SIGINT)
GRACE_S = 5
"""How long a request in progress may go on when the server ends."""
ACCEPTED = 8
"""Connections in a round of the event loop, which accepts one for each socket it listens to: of
a busy loop there are few rounds in a second, and whoever is new would wait for long."""
BACKLOG = 4096
"""So many connections may wait to be accepted, where the system allows it: all come back at once
after a restart, and whoever finds no room tries again only after a second."""
BUSY = 32
"""While more than these reports wait to be written, or a slice's documents, few are woken."""
WORDS_LIMIT = 1024
"""What a reader may say at once over a WebSocket, in bytes: it has nothing to say."""


@dataclass(frozen=True, slots=True)
class ServiceSettings:
    """What the server needs to know."""

    poll_interval_s: int
    packages: Path
    certificate: Certificate
    is_certificate_pinned: bool
    """Put the certificate's fingerprint into join strings: no public CA vouches for it."""
    address: str | None
    """`https://host:port` for join strings; None: as the caller reached the server."""
    trusted_proxies: tuple[str, ...] = ()
    """Whose `X-Forwarded-For` says who calls; of anybody else it is not looked at."""
    rate_limits: RateLimits = GENEROUS
    oidc: OidcSettings | None = None
    """Who else may let people in; None: tokens alone do."""
    is_open: bool = True
    """Serve devices and people; else only tell how this process does."""
    is_clock_accepted: bool = False
    """A person vouches for the clock, though later times are recorded."""


class Service:
    """One server; `run` serves until `end` is called or a signal comes."""

    def __init__(
        self,
        store: Store,
        settings: ServiceSettings,
        doorbell: Doorbell,
        *views: FleetView,
    ) -> None:
        """`views`: of each organization that is served."""
        self._settings = settings
        fleets = Fleets(views)
        sessions = Sessions(store if is_postgres(store.engine) else None)
        hearing = Hearing(store, doorbell, sessions, fleets, is_open=settings.is_open)
        store.hear(hearing.of_own)
        self._feed = Feed(store, hearing, fleets) if is_postgres(store.engine) else None
        # After the feed has begun: what is opened meanwhile is in one of them, or in both.
        if settings.is_open:
            sessions.load(store)
        self._inlet = Inlet(
            store,
            poll_interval_s=settings.poll_interval_s,
        )
        tally = DeviceTally()
        self._clock = ClockGuard(store, is_accepted=settings.is_clock_accepted)
        documents = ServedDocuments(store, doorbell, fleets.key, settings.poll_interval_s)
        doorbell.is_busy = lambda: documents.reading > AT_ONCE or self._inlet.waiting > BUSY
        rates = DeviceRates(settings.rate_limits)
        polls = Polls(
            sessions=sessions,
            documents=documents,
            doorbell=doorbell,
            inlet=self._inlet,
            fleets=fleets,
            poll_interval_s=settings.poll_interval_s,
            rates=rates,
            tally=tally,
            clock=self._clock,
        )
        reporting = Reporting(
            polls=polls, inlet=self._inlet, receipts=Receipts(fleets.key_if_any), tally=tally
        )
        self._connections = connections(polls, reporting)
        protocol = DeviceProtocol(
            strangers=Strangers(Admission(store, self._inlet, sessions, fleets), rates, tally),
            sessions=sessions,
            polls=polls,
            reporting=reporting,
            old_devices=OldDevices(store, doorbell, self._inlet, fleets, rates, tally),
            fleets=fleets,
            tally=tally,
        )
        self.desks = _desks(store, settings, doorbell, fleets)
        meters = Meters(tally, self._inlet, doorbell, self._clock)
        counted, live = failures(), Live(store, lambda: seen_after(settings.poll_interval_s))
        monitored = monitoring.application(self.desks, meters, counted)
        self.application: Application | Closed
        if settings.is_open:
            provider = Provider(settings.oidc) if settings.oidc is not None else None
            look = PackageLook(settings.packages, is_stopping=lambda: doorbell.is_closed)
            people = MadeWhenAsked(partial(_people, self.desks, live, counted, provider, look))
            files = Packages(settings.packages)
            self.application = Application(protocol, files, monitored, people)
        else:
            self.application = Closed(monitored)
        self._server = Server(self._config(), doorbell, live, partial(_hurry, store))

    def run(self, listener: socket.socket) -> None:
        """Serve on a bound socket until the end; blocks."""
        self._inlet.start()
        if self._feed is not None:
            self._feed.start()
        try:
            self._server.run(sockets=[listener, *(listener.dup() for _ in range(1, ACCEPTED))])
        finally:
            if self._feed is not None:
                self._feed.stop()
            self._inlet.stop()
            self._clock.close()

    def end(self) -> None:
        """Let `run` return; from any thread, even before it was called."""
        self._server.should_exit = True

    def _config(self) -> uvicorn.Config:
        certificate = self._settings.certificate
        return uvicorn.Config(
            self.application,
            loop="uvloop",
            http=self._connections if self._settings.is_open else USUAL,
            ws=cast(type[asyncio.Protocol], _web_socket),
            ws_max_size=WORDS_LIMIT,
            ws_per_message_deflate=False,
            lifespan="off",
            log_config=None,
            access_log=False,
            backlog=BACKLOG,
            server_header=False,
            # Of its own accord uvicorn would believe whoever calls from this machine.
            proxy_headers=bool(self._settings.trusted_proxies),
            forwarded_allow_ips=list(self._settings.trusted_proxies),
            ssl_certfile=certificate.certificate,
            ssl_keyfile=certificate.key,
            timeout_graceful_shutdown=GRACE_S,
        )


def _web_socket(**given: Any) -> asyncio.Protocol:
    """What serves a web socket: loaded when one is asked for, as most servers never see any."""
    from uvicorn.protocols.websockets import auto  # noqa: PLC0415

    assert auto.AutoWebSocketsProtocol is not None  # `websockets` is a dependency
    connection: Any = auto.AutoWebSocketsProtocol(**given)
    connection.shutdown = partial(_shut_down, connection, connection.shutdown)
    return cast(asyncio.Protocol, connection)


def _shut_down(connection: Any, usual: Callable[[], None]) -> None:
    """As uvicorn does, which fails where the other side is closing: a server's end ended there."""
    from websockets.exceptions import InvalidState  # noqa: PLC0415

    try:
        usual()
    except InvalidState:
        connection.transport.close()


class Server(uvicorn.Server):
    """Opens the doorbell on its loop; ends polls and streams that wait before it waits itself."""

    def __init__(
        self, config: uvicorn.Config, doorbell: Doorbell, live: Live, on_end: Callable[[], None]
    ) -> None:
        super().__init__(config)
        self._doorbell = doorbell
        self._live = live
        self._on_end = on_end

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """End on SIGTERM and SIGINT, and return to the caller, who has threads to join."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        former = {number: signal.signal(number, self.handle_exit) for number in END_SIGNALS}
        try:
            yield
        finally:
            for number, handler in former.items():
                signal.signal(number, handler)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin."""
        self._doorbell.open()
        await super().startup(sockets)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End."""
        self._doorbell.close()
        self._live.close()
        self._on_end()
        await super().shutdown(sockets)


def _hurry(store: Store) -> None:
    """Whoever waits for a database that is silent would keep the process from its end."""
    if is_postgres(store.engine):
        from towline.reconciler.store import patience  # noqa: PLC0415 not everybody has psycopg

        patience.hurry(store.engine)


def _people(
    desks: Desks, live: Live, counted: Buckets, provider: Provider | None, look: PackageLook
) -> ASGIApp:
    from towline.reconciler.server import people  # noqa: PLC0415 heavy, as it says itself

    return people.application(desks, live, counted, provider, look)


def _desks(store: Store, settings: ServiceSettings, doorbell: Doorbell, fleets: Fleets) -> Desks:
    certificate = settings.certificate.fingerprint() if settings.is_certificate_pinned else None

    def desk(organization: str) -> Desk:
        fleet = fleets.find(organization)
        repository = fleet.repository if fleet else None
        return Desk(
            organization=organization,
            store=bound_to(store, organization),
            poll_interval_s=settings.poll_interval_s,
            wake=fleet.wake if fleet else lambda: None,
            roots=fleet.roots if fleet else tuple,
            address=settings.address,
            certificate=certificate,
            head=fleet.head if fleet else lambda: None,
            is_stopping=lambda: doorbell.is_closed,
            repository=repository,
            fleet=fleet,
            manifest_texts=ManifestTexts(repository) if repository else None,
        )

    return Desks(store, desk)
