"""The HTTP server put together: devices in front as raw ASGI, people behind by FastAPI.

Owns the inlet's thread; reconcilers are known only by the callables in `FleetView`.
"""

import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from fastapi import Depends, FastAPI

import towline
from towline.reconciler.server import (
    admin,
    admin_audit,
    admin_create,
    admin_devices,
    admin_enrolment,
    admin_leaving,
    admin_old_devices,
    admin_tokens,
    health,
    metrics,
    plans,
    replays,
    streams,
)
from towline.reconciler.server.admission import Admission
from towline.reconciler.server.clock_guard import ClockGuard
from towline.reconciler.server.dashboard import web as dashboard
from towline.reconciler.server.desk import Desk, Desks, count_failures, seen_after
from towline.reconciler.server.device import DeviceProtocol
from towline.reconciler.server.device_connection import connections
from towline.reconciler.server.device_rates import GENEROUS, DeviceRates, RateLimits
from towline.reconciler.server.doorbell import AT_ONCE, Doorbell
from towline.reconciler.server.feed import Feed
from towline.reconciler.server.fleets import Fleets, FleetView
from towline.reconciler.server.front import Application, Closed
from towline.reconciler.server.hearing import Hearing
from towline.reconciler.server.inlet import Inlet
from towline.reconciler.server.known_query import only_known
from towline.reconciler.server.live import Live
from towline.reconciler.server.manifest_texts import ManifestTexts
from towline.reconciler.server.metrics import Meters
from towline.reconciler.server.oidc import Provider
from towline.reconciler.server.oidc_settings import OidcSettings
from towline.reconciler.server.old_devices import OldDevices
from towline.reconciler.server.openapi import document
from towline.reconciler.server.openapi import page as api_page
from towline.reconciler.server.package_look import PackageLook
from towline.reconciler.server.packages import Packages
from towline.reconciler.server.polls import Polls
from towline.reconciler.server.problem_answers import install_problems
from towline.reconciler.server.request_ids import RequestIds
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
        self._polls = Polls(
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
        protocol = DeviceProtocol(
            strangers=Strangers(Admission(store, self._inlet, sessions, fleets), rates, tally),
            sessions=sessions,
            polls=self._polls,
            inlet=self._inlet,
            old_devices=OldDevices(store, doorbell, self._inlet, fleets),
            fleets=fleets,
            tally=tally,
        )
        self.desks = _desks(store, settings, doorbell, fleets)
        application = people(self.desks, settings.poll_interval_s)
        if settings.oidc is not None:
            application.state.provider = Provider(settings.oidc)
        application.state.meters = Meters(tally, self._inlet, doorbell, self._clock)
        application.state.clock = self._clock
        application.state.package_look = PackageLook(
            settings.packages, is_stopping=lambda: doorbell.is_closed
        )
        self.application: Application | Closed
        if settings.is_open:
            self.application = Application(protocol, Packages(settings.packages), application)
        else:
            self.application = Closed(application)
        self._server = Server(self._config(), doorbell, application.state.live)

    def run(self, listener: socket.socket) -> None:
        """Serve on a bound socket until the end; blocks."""
        self._inlet.start()
        if self._feed is not None:
            self._feed.start()
        try:
            self._server.run(sockets=[listener])
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
            http=connections(self._polls) if self._settings.is_open else "httptools",
            ws_max_size=WORDS_LIMIT,
            ws_per_message_deflate=False,
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            # Of its own accord uvicorn would believe whoever calls from this machine.
            proxy_headers=bool(self._settings.trusted_proxies),
            forwarded_allow_ips=list(self._settings.trusted_proxies),
            ssl_certfile=certificate.certificate,
            ssl_keyfile=certificate.key,
            timeout_graceful_shutdown=GRACE_S,
        )


class Server(uvicorn.Server):
    """Opens the doorbell on its loop; ends polls and streams that wait before it waits itself."""

    def __init__(self, config: uvicorn.Config, doorbell: Doorbell, live: Live) -> None:
        super().__init__(config)
        self._doorbell = doorbell
        self._live = live

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
        await super().shutdown(sockets)


_CALLS = (
    admin_create,
    admin,
    admin_devices,
    admin_tokens,
    admin_enrolment,
    admin_leaving,
    admin_old_devices,
    admin_audit,
    plans,
    replays,
    streams,
)


def people(desks: Desks, poll_interval_s: int) -> FastAPI:
    """The application for people: API, page, health."""
    app = FastAPI(
        title="Towline",
        version=towline.__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url=api_page.DOCUMENT,
        generate_unique_id_function=lambda route: route.name,
    )
    app.state.desks = desks
    app.state.live = Live(desks.store, lambda: seen_after(poll_interval_s))
    app.add_middleware(RequestIds)
    count_failures(app)
    install_problems(app)
    for each in _CALLS:
        app.include_router(each.router, dependencies=[Depends(only_known)])
    app.include_router(metrics.router)
    app.include_router(api_page.router)
    app.include_router(health.router)
    dashboard.install(app)
    document.install(app)
    return app


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
