"""`towline serve`: store, certificate, keys, reconciler and HTTP server put together and run.

One process per data folder. Everything that can be wrong is found out before the first request,
as a Problem.
"""

import fcntl
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import structlog

from towline.manifests.remote import Remote
from towline.manifests.repository import Repository
from towline.reconciler.head_reading import root_chain
from towline.reconciler.loop import LoopSettings, Reconciler
from towline.reconciler.server import tls
from towline.reconciler.server.dashboard.page import PATH as PAGE
from towline.reconciler.server.doorbell import Doorbell
from towline.reconciler.server.followed import fetching, open_repository
from towline.reconciler.server.service import FleetView, Service, ServiceSettings
from towline.reconciler.server.tls import Certificate
from towline.reconciler.store import people, repositories
from towline.reconciler.store.engine import Store, open_store
from towline.reconciler.store.people import Person, Role
from towline.schemas import root as roots
from towline.schemas.keys import PrivateKey
from towline.schemas.problems import Problem, Refused

STORE_FILE = "towline.db"
TOKEN_FILE = "admin.token"  # noqa: S105 a file's name
LOOPBACK = ("127.0.0.1", "localhost", "::1")


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


def serve(
    settings: ServeSettings,
    announce: Callable[[Sequence[str]], None],
    on_ready: Callable[[Service], None] = lambda _: None,
) -> None:
    """Serve until SIGTERM or SIGINT; raises Problem when it cannot begin.

    `announce` gets the lines for people once the address is bound; `on_ready` the service, whose
    `end` stops it.
    """
    _log_to_stderr()
    settings.data.mkdir(parents=True, exist_ok=True)
    with _only_process(settings.data):
        repository = open_repository(
            settings.repository, settings.path, settings.branch, settings.data
        )
        store = open_store(settings.data / STORE_FILE)
        try:
            _prepare(store, repository, settings)
            trust = _trust(store, repository, settings)
            _run(store, repository, trust, settings, announce, on_ready)
        finally:
            store.close()


def _log_to_stderr() -> None:
    """Lines for people on a terminal, JSON for whatever collects them else."""
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer()
        if sys.stderr.isatty()
        else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


@dataclass(frozen=True, slots=True)
class _Trust:
    """The key that signs documents, and the chain of roots that names it."""

    key: PrivateKey
    roots: tuple[bytes, ...]


def _run(
    store: Store,
    repository: Repository,
    trust: _Trust,
    settings: ServeSettings,
    announce: Callable[[Sequence[str]], None],
    on_ready: Callable[[Service], None],
) -> None:
    doorbell = Doorbell()
    loop_settings = LoopSettings(
        settings.organization, settings.poll_interval_s, settings.git_interval_s
    )
    reconciler = Reconciler(store, repository, loop_settings, doorbell.ring)
    lan = tls.lan_addresses() if settings.is_lan else []
    certificate = _certificate(settings, lan)
    with _listen(settings) as listener:
        port = listener.getsockname()[1]
        address = _address(lan[0], port) if lan else None
        fleet = FleetView(
            roots=lambda: reconciler.head.roots if reconciler.head else trust.roots,
            devices=lambda: reconciler.head.devices if reconciler.head else {},
            wake=reconciler.wake,
            head=lambda: reconciler.head,
            repository=repository,
        )
        service = Service(
            store, _service_settings(settings, certificate, address), trust.key, doorbell, fleet
        )
        with fetching(repository, settings.git_interval_s):
            reconciler.start(repository.path)
            try:
                announce(_lines(service, settings, port))
                on_ready(service)
                service.run(listener)
            finally:
                reconciler.stop()


def _service_settings(
    settings: ServeSettings, certificate: Certificate, address: str | None
) -> ServiceSettings:
    return ServiceSettings(
        organization=settings.organization,
        poll_interval_s=settings.poll_interval_s,
        packages=settings.packages,
        certificate=certificate,
        is_certificate_pinned=settings.tls_cert is None,
        address=address,
    )


def _prepare(store: Store, repository: Repository, settings: ServeSettings) -> None:
    """The organization's rows, and at the first start an admin token in a file of its own."""
    now = int(time.time())
    token_file = settings.data / TOKEN_FILE
    with store.write() as connection:
        repositories.ensure(
            connection,
            settings.organization,
            repository.source,
            settings.branch,
            settings.path,
            now,
        )
        if not token_file.exists():
            token = people.create_admin_token(
                connection, settings.organization, name="admin", role=Role.ADMIN, now=now
            )
            tls.write_private(token_file, f"{token}\n".encode())


def _trust(store: Store, repository: Repository, settings: ServeSettings) -> _Trust:
    """The online key and its roots; raises Problem when the newest root does not name it."""
    key = PrivateKey.load(settings.online_key)
    with store.read() as connection:
        applied = repositories.get(connection, settings.organization).applied_commit
    errors: list[str] = []
    for commit in dict.fromkeys(filter(None, [_head(repository, applied), applied])):
        try:
            chain = _roots(repository, commit)
            root = roots.follow(chain, settings.organization)
        except (Refused, Problem) as error:
            errors.append(str(error))
            continue
        if any(named == key.public for named in root.online.keys):
            return _Trust(key, chain)
        errors.append(f"root version {root.version} of commit {commit[:12]} names another one")
    raise Problem(
        f"{settings.online_key} may not sign documents: "
        + (errors[0] if errors else f"branch {settings.branch} has no commit yet"),
        remedy="name the key that trust/root/ names with --online-key; `towline init` makes both",
    )


def _head(repository: Repository, applied: str | None) -> str | None:
    """An outage does not keep the server from serving what it applied before."""
    try:
        return repository.head()
    except Problem:
        if applied is None:
            raise
        return None


def _roots(repository: Repository, commit: str) -> tuple[bytes, ...]:
    chain = root_chain(repository.read(commit))
    if not chain:
        raise Problem(f"trust/root/1.json is missing in commit {commit[:12]}")
    return chain


def _certificate(settings: ServeSettings, lan: list[str]) -> Certificate:
    if settings.tls_cert is None and settings.tls_key is None:
        return tls.ensure(settings.data, lan)
    if settings.tls_cert is None or settings.tls_key is None:
        raise Problem("tls_cert and tls_key belong together", remedy="give both or none")
    return Certificate(settings.tls_cert, settings.tls_key)


@contextmanager
def _only_process(data: Path) -> Iterator[None]:
    """Hold the data folder's lock; raises Problem when another process has it."""
    with (data / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Problem(
                f"another server uses the data folder {data}",
                remedy="stop it, or give this one its own folder with --data",
            ) from None
        yield


def _listen(settings: ServeSettings) -> socket.socket:
    """The bound socket; raises Problem when the address is taken."""
    is_open = settings.is_lan and settings.host in LOOPBACK
    host = "0.0.0.0" if is_open else settings.host  # noqa: S104 --lan says so
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, settings.port), family=family, backlog=2048)
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
    lines = [
        f"Towline serves {settings.organization} at {service.desk.address or own}",
        f"  page   {own}{PAGE}",
        f"  token  {settings.data / TOKEN_FILE}",
    ]
    if settings.is_lan:
        nobody = Person("towline serve", settings.organization, Role.ADMIN, "", None)
        join = service.desk.new_join_string(
            nobody, own.removeprefix("https://"), labels={}, max_uses=1
        )
        lines += [
            "Paste this on a device (one use, one hour):",
            f"  towline-agent enroll '{join}' --root towline && towline-agent run --root towline",
        ]
    return lines
