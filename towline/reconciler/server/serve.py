"""`towline serve`: store, certificate, keys, reconcilers and HTTP server put together and run.

One process per data folder, which may serve several organizations: each has a repository, a key and
a reconciler of its own over the one store. Several processes may share a Postgres database, each
with a role. Everything that can be wrong is found out before the first request, as a Problem.
"""

import socket
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from towline.manifests.remote import Remote
from towline.manifests.repository import Repository
from towline.reconciler.leadership import Leadership
from towline.reconciler.loop import LoopSettings, Reconciler
from towline.reconciler.server import health, oidc_settings, process, tls
from towline.reconciler.server.dashboard import PATH as PAGE
from towline.reconciler.server.device_rates import GENEROUS, RateLimits
from towline.reconciler.server.doorbell import Doorbell
from towline.reconciler.server.fleets import FleetView
from towline.reconciler.server.followed import MIRRORS, fetching, open_repository
from towline.reconciler.server.founding import (
    FleetSettings,
    Trust,
    find_trust,
    has_admin,
    make_first_token,
    prepare,
    the_server,
)
from towline.reconciler.server.only_server import only_on_folder
from towline.reconciler.server.service import BACKLOG, Service, ServiceSettings
from towline.reconciler.server.tls import Certificate
from towline.reconciler.store import owner_only
from towline.reconciler.store.address import STORE_FILE
from towline.reconciler.store.apart import open_migrated
from towline.reconciler.store.engine import Store, usable
from towline.schemas.problems import Problem
from towline.schemas.root import Root

TOKEN_FILE = "admin.token"  # noqa: S105 a file's name
LOOPBACK = ("127.0.0.1", "localhost", "::1")


class ProcessRole(StrEnum):
    """What a process does of the work."""

    ALL = "all"
    API = "api"
    """Serves devices and people, and never decides."""
    RECONCILER = "reconciler"
    """Decides while it leads, and serves nobody."""


@dataclass(frozen=True, slots=True)
class ServeSettings:
    """Everything that `towline serve` needs to know; paths are absolute."""

    organization: str
    repository: Path | Remote
    """The working copy or bare repository, or one elsewhere that is mirrored under `data`."""
    path: str
    """The fleet's folder inside the repository; empty: the whole of it."""
    branch: str
    data: Path
    host: str
    port: int
    is_lan: bool
    """Listen on all interfaces and put their addresses into the certificate."""
    online_key: Path
    packages: Path
    poll_interval_s: int = 300
    git_interval_s: int = 15
    tls_cert: Path | None = None
    tls_key: Path | None = None
    rate_limits: RateLimits = GENEROUS
    trusted_proxies: tuple[str, ...] = ()
    """Addresses and networks of proxies whose word on who calls is taken."""
    oidc: Path | None = None
    """The file that says who else may let people in; None: tokens alone do."""
    allowed_signers: Path | None = None
    """Who may sign the branch's head; None: it needs no signature."""
    store: str | None = None
    """The URL of a Postgres database; None: a SQLite file in `data`."""
    passphrase: Callable[[Path], bytes] | None = None
    """Asked for that of the online key, where its file is encrypted."""
    others: tuple[FleetSettings, ...] = ()
    """The fleets of other organizations that are served beside this one's."""
    role: ProcessRole = ProcessRole.ALL
    is_clock_accepted: bool = False
    """A person vouches for the clock, though later times are recorded."""

    @property
    def fleets(self) -> tuple[FleetSettings, ...]:
        """All that are served."""
        own = FleetSettings(
            self.organization,
            self.repository,
            self.path,
            self.branch,
            self.online_key,
            self.allowed_signers,
            self.passphrase,
        )
        return (own, *self.others)

    def token_file(self, organization: str) -> Path:
        """Where the first admin token of an organization is kept."""
        return self.data / (f"admin-{organization}.token" if self.others else TOKEN_FILE)

    def mirrors(self, organization: str) -> Path:
        """Where an organization's repository is mirrored: two never share one."""
        own = self.data / MIRRORS
        return own if organization == self.organization else own / organization


@dataclass(frozen=True, slots=True)
class _Followed:
    """One organization's fleet, with all that it needs."""

    settings: FleetSettings
    repository: Repository
    trust: Trust


def serve(
    settings: ServeSettings,
    announce: Callable[[Sequence[str]], None],
    on_ready: Callable[[Service], None] = lambda _: None,
) -> None:
    """Serve until SIGTERM or SIGINT; raises Problem when it cannot begin.

    `announce` gets the lines for people once the address is bound; `on_ready` the service, whose
    `end` stops it.
    """
    process.set_up()
    _check_role(settings)
    owner_only.make_folder(settings.data)
    with ExitStack() as held:
        held.enter_context(only_on_folder(settings.data))
        store = open_migrated(settings.store or settings.data / STORE_FILE)
        held.callback(store.close)
        with usable(store.engine):
            followed = [_follow(store, fleet, settings) for fleet in settings.fleets]
        _run(store, followed, settings, announce, on_ready)


def _check_role(settings: ServeSettings) -> None:
    if settings.store is None and settings.role is not ProcessRole.ALL:
        raise Problem(
            f"a process with --role {settings.role} shares its store with others, and a SQLite file"
            " has one process",
            remedy="serve without --role, or set store to a postgresql:// URL for all of them",
        )


def _follow(store: Store, fleet: FleetSettings, settings: ServeSettings) -> _Followed:
    mirrors = settings.mirrors(fleet.organization)
    repository = open_repository(fleet, mirrors)
    prepare(store, repository, fleet)
    if settings.role is not ProcessRole.RECONCILER:
        _keep_token(store, fleet.organization, settings)
    return _Followed(fleet, repository, find_trust(store, repository, fleet))


def _keep_token(store: Store, organization: str, settings: ServeSettings) -> None:
    """At the first start; of many processes that serve only, the first one makes it."""
    file = settings.token_file(organization)
    is_needed = settings.role is ProcessRole.ALL or not has_admin(store, organization)
    if is_needed and not file.exists():
        make_first_token(store, organization, file)


def _run(
    store: Store,
    followed: Sequence[_Followed],
    settings: ServeSettings,
    announce: Callable[[Sequence[str]], None],
    on_ready: Callable[[Service], None],
) -> None:
    doorbell = Doorbell()
    lan = tls.lan_addresses() if settings.is_lan else []
    certificate = tls.given_or_own(settings.tls_cert, settings.tls_key, settings.data, lan)
    with _listen(settings) as listener:
        port = listener.getsockname()[1]
        address = _address(lan[0], port) if lan else None
        leadership = Leadership(store)
        reconcilers = [_reconciler(store, each, settings, leadership) for each in followed]
        service = Service(
            store,
            _service_settings(settings, certificate, address),
            doorbell,
            *map(_view, followed, reconcilers),
        )
        with ExitStack() as running:
            running.callback(leadership.stop)
            for each, reconciler in zip(followed, reconcilers, strict=True):
                on_fetched = reconciler.look_at_git
                running.enter_context(
                    fetching(each.repository, settings.git_interval_s, on_fetched)
                )
                reconciler.start(each.repository.path)
                running.callback(reconciler.stop)
            if settings.role is not ProcessRole.API:
                leadership.start()
            announce(_lines(service, settings, port))
            on_ready(service)
            service.run(listener)


def _reconciler(
    store: Store, followed: _Followed, settings: ServeSettings, leadership: Leadership
) -> Reconciler:
    organization = followed.settings.organization
    loop = LoopSettings(organization, settings.poll_interval_s, settings.git_interval_s)
    return Reconciler(store, followed.repository, loop, leadership=leadership)


def _view(followed: _Followed, reconciler: Reconciler) -> FleetView:
    trust = followed.trust

    def root() -> Root:
        return reconciler.head.root if reconciler.head else trust.root

    return FleetView(
        organization=followed.settings.organization,
        online_key=lambda: trust.key.under(root()),
        roots=lambda: reconciler.head.roots if reconciler.head else trust.roots,
        devices=lambda: reconciler.head.devices if reconciler.head else {},
        wake=reconciler.wake,
        head=lambda: reconciler.head,
        repository=followed.repository,
        tally=reconciler.tally,
        leads=lambda: reconciler.leads,
    )


def _service_settings(
    settings: ServeSettings, certificate: Certificate, address: str | None
) -> ServiceSettings:
    return ServiceSettings(
        poll_interval_s=settings.poll_interval_s,
        packages=settings.packages,
        certificate=certificate,
        is_certificate_pinned=settings.tls_cert is None,
        address=address,
        rate_limits=settings.rate_limits,
        trusted_proxies=settings.trusted_proxies,
        oidc=oidc_settings.load(settings.oidc, settings.organization) if settings.oidc else None,
        is_open=settings.role is not ProcessRole.RECONCILER,
        is_clock_accepted=settings.is_clock_accepted,
    )


def _listen(settings: ServeSettings) -> socket.socket:
    """The bound socket; raises Problem when the address is taken."""
    is_open = settings.is_lan and settings.host in LOOPBACK
    host = "0.0.0.0" if is_open else settings.host  # noqa: S104 --lan says so
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, settings.port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise Problem(
            f"cannot listen on {host}:{settings.port}: {error.strerror}",
            remedy="choose another address with --listen ADDRESS:PORT",
        ) from None


def _address(host: str, port: int) -> str:
    return f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"


def _lines(service: Service, settings: ServeSettings, port: int) -> list[str]:
    host = "127.0.0.1" if settings.host in ("0.0.0.0", *LOOPBACK) else settings.host  # noqa: S104
    own = _address(host, port)
    at = service.desks.of(settings.organization).address or own
    served = ", ".join(fleet.organization for fleet in settings.fleets)
    if settings.role is ProcessRole.RECONCILER:
        return [f"Towline reconciles {served}", f"  health {own}{health.PATH}"]
    lines = [f"Towline serves {served} at {at}", f"  page   {own}{PAGE}"]
    files = (settings.token_file(fleet.organization) for fleet in settings.fleets)
    lines += [f"  token  {file}" for file in files if file.exists()]
    for fleet in settings.fleets:
        lines += [f"  !! {each}" for each in service.desks.of(fleet.organization).warnings()]
    return [*lines, *(_join_lines(service, settings, own) if settings.is_lan else ())]


def _join_lines(service: Service, settings: ServeSettings, own: str) -> list[str]:
    """A line to paste for each organization."""
    lines = ["Paste this on a device (one use, one hour):"]
    for fleet in settings.fleets:
        join = service.desks.of(fleet.organization).new_join_string(
            the_server(fleet.organization), own.removeprefix("https://")
        )
        of = [f"  a device of {fleet.organization}:"] if settings.others else []
        enrol = f"towline-agent enroll '{join}' --root towline && towline-agent run --root towline"
        lines += [*of, f"  {enrol}"]
    return lines
