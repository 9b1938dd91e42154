"""A real TLS server on an ephemeral port, on a store that is filled by SQL."""

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import insert

from tests.stores import open_quickly
from towline.manifests.model import DeviceEntry
from towline.reconciler.head import Head
from towline.reconciler.server import service, tls
from towline.reconciler.server.buckets import Buckets
from towline.reconciler.server.device_rates import DeviceRates, RateLimits
from towline.reconciler.server.doorbell import Doorbell
from towline.reconciler.server.fleets import FleetView
from towline.reconciler.server.service import Service, ServiceSettings
from towline.reconciler.store import counters, join_tokens, people, repositories
from towline.reconciler.store import tables as t
from towline.reconciler.store.engine import Store
from towline.reconciler.store.join_tokens import JoinTerms
from towline.reconciler.store.people import Role
from towline.schemas.enrolment import EnrolmentRequest, SessionRequest
from towline.schemas.keys import PrivateKey
from towline.schemas.root import Role as KeyRole
from towline.schemas.root import Root
from towline.schemas.statement import Statement

ORGANIZATION = "acme"
NOW = 1_790_000_000
YEAR_S = 366 * 86400


@dataclass
class Running:
    """The server, and what the tests know of it."""

    url: str
    store: Store
    doorbell: Doorbell
    client: httpx.Client
    root: Root
    root_bytes: bytes
    release_key: PrivateKey
    packages: Path
    devices: dict[str, DeviceEntry]
    wakes: threading.Event
    heads: list[Head] = field(default_factory=list)
    """The last one is in force."""
    online_keys: list[PrivateKey | None] = field(default_factory=list)
    """The last one signs; None: the newest root names another."""
    roots: list[bytes] = field(default_factory=list)
    tokens: dict[str, str] = field(default_factory=dict)
    end: Callable[[], None] = lambda: None
    """Begins the end of the server."""

    def admin(self, role: str = "admin") -> dict[str, str]:
        """The headers of a person with that role."""
        return {"Authorization": f"Bearer {self.tokens[role]}"}

    def join_token(self, organization: str = ORGANIZATION, **terms: Any) -> str:
        """A fresh join token."""
        with self.store.write() as connection:
            return join_tokens.create(
                connection, organization, JoinTerms(**terms), author="test", now=wall()
            )


@dataclass
class Device:
    """A device as the server meets it: an id and a key."""

    server: Running
    id: str = "pi-0001"
    key: PrivateKey = field(default_factory=PrivateKey.generate)
    token: str = ""
    report_seq: int = 0

    def enrol(self, join_token: str | None = None, **changes: Any) -> httpx.Response:
        """Ask to be known."""
        values: dict[str, Any] = {
            "organization": ORGANIZATION,
            "device": self.id,
            "public_key": self.key.public,
            "device_type": "raspberry_pi",
            "agent": "0.1.0",
        }
        sealed = EnrolmentRequest(**(values | changes)).sign(self.key)
        headers = {"Authorization": f"Join {join_token}"} if join_token else {}
        return self.server.client.post(
            "/api/v1/ota/enroll", content=sealed.to_bytes(), headers=headers
        )

    def session_request(self, *, nonce: str = "", issued_at: int | None = None) -> SessionRequest:
        """What opens a session."""
        return SessionRequest(
            organization=ORGANIZATION,
            device=self.id,
            keyid=self.key.public.keyid,
            nonce=nonce or uuid4().hex,
            boot_id="boot",
            issued_at=wall() if issued_at is None else issued_at,
            last_sequence=0,
        )

    def open(self, request: SessionRequest | None = None) -> httpx.Response:
        """Open a session and keep its token."""
        sealed = (request or self.session_request()).sign(self.key)
        answer = self.server.client.post("/api/v1/ota/session", content=sealed.to_bytes())
        if answer.status_code == 200:
            self.token = answer.json()["token"]
        return answer

    def poll(self, etag: str = "", wait: int = 0, sequence: int = 0) -> httpx.Response:
        """Ask for the document."""
        sent = {
            "Authorization": f"Bearer {self.token}",
            "Towline-Nonce": "A" * 22,
            "Towline-Sequence": str(sequence),
        }
        if etag:
            sent["If-None-Match"] = etag
        return self.server.client.get(
            "/api/v1/ota/desired-state", params={"wait": wait}, headers=sent
        )

    def report(self, *documents: dict[str, Any]) -> httpx.Response:
        """Send reports."""
        return self.server.client.post(
            "/api/v1/ota/reports",
            json=list(documents),
            headers={"Authorization": f"Bearer {self.token}"},
        )

    def facts(self, **changes: Any) -> dict[str, Any]:
        """A report of facts and versions."""
        self.report_seq += 1
        return {
            "journal": "j1",
            "reportSeq": self.report_seq,
            "lastSequence": 0,
            "facts": {"kernel": "6.1"},
            "versions": {},
        } | changes


def wall() -> int:
    """Seconds since the epoch."""
    return int(time.time())


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An empty store of the organization."""
    opened = open_quickly(tmp_path / "data" / "towline.db")
    with opened.write() as connection:
        repositories.ensure(connection, ORGANIZATION, "fleet", "main", "", NOW)
    yield opened
    opened.close()


@pytest.fixture
def little_patience(monkeypatch: pytest.MonkeyPatch) -> int:
    """The server waits long for who is refused; after so many refusals."""

    def impatient(limits: RateLimits) -> DeviceRates:
        rates = DeviceRates(limits)
        rates._failures, rates._failures_of_known = Buckets(20, 1 / 60), Buckets(20, 1 / 60)
        return rates

    monkeypatch.setattr(service, "DeviceRates", impatient)
    return 20


@pytest.fixture
def server(tmp_path: Path, store: Store, request: pytest.FixtureRequest) -> Iterator[Running]:
    """The running server; its poll interval may be set by an indirect parameter."""
    poll_interval_s: int = getattr(request, "param", 300)
    online, release, root_key = (PrivateKey.generate() for _ in range(3))
    root = Root(
        version=1,
        organization=ORGANIZATION,
        expires=wall() + YEAR_S,
        root=KeyRole((root_key.public,), 1),
        release=KeyRole((release.public,), 1),
        online=KeyRole((online.public,), 1),
    )
    root_bytes = root.sign(root_key)
    online_keys: list[PrivateKey | None] = [online]
    roots = [root_bytes]
    packages = tmp_path / "packages"
    packages.mkdir()
    devices: dict[str, DeviceEntry] = {}
    wakes = threading.Event()
    heads: list[Head] = []
    certificate = tls.ensure(tmp_path / "data", [])
    doorbell = Doorbell()
    service = Service(
        store,
        ServiceSettings(poll_interval_s, packages, certificate, True, None),
        doorbell,
        FleetView(
            ORGANIZATION,
            lambda: online_keys[-1],
            lambda: tuple(roots),
            lambda: devices,
            wakes.set,
            lambda: heads[-1] if heads else None,
        ),
    )
    listener = socket.create_server(("127.0.0.1", 0))
    url = f"https://127.0.0.1:{listener.getsockname()[1]}"
    context = ssl.create_default_context(cafile=str(certificate.certificate))
    thread = threading.Thread(target=service.run, args=(listener,))
    thread.start()
    with httpx.Client(base_url=url, verify=context, timeout=30) as client:
        running = Running(
            url, store, doorbell, client, root, root_bytes, release, packages, devices, wakes, heads
        )
        running.end = service.end
        running.online_keys, running.roots = online_keys, roots
        with store.write() as connection:
            for role in Role:
                running.tokens[role] = people.create_admin_token(
                    connection, ORGANIZATION, name=f"{role} person", role=role, now=NOW
                )
        try:
            # The socket listens already, so this waits until the server answers.
            assert client.get("/healthz").status_code == 200
            yield running
        finally:
            client.close()
            service.end()
            thread.join()
            listener.close()


@pytest.fixture
def enrolled(server: Running) -> Device:
    """A device with an open session."""
    device = Device(server)
    assert device.enrol(server.join_token()).status_code == 201
    assert device.open().status_code == 200
    return device


AddRun = Callable[..., int]


@pytest.fixture
def add_run(server: Running) -> AddRun:
    """Puts a run into the store; returns its number."""

    def add(deployment: str = "hello", **changes: Any) -> int:
        with server.store.write() as connection:
            values = run_values(server, deployment) | changes
            return int(
                connection.execute(insert(t.runs).returning(t.runs.c.seq), values).scalar_one()
            )

    return add


def run_values(server: Running, deployment: str) -> dict[str, Any]:
    """A run in progress, as a row."""
    word = Statement(
        organization=ORGANIZATION,
        component=deployment,
        version="1.0.0",
        file_name="hello.tar.gz",
        sha256="ab" * 32,
        size=10,
        unpacked_size=10,
        files=1,
        content_sha256="cd" * 32,
        built_at=NOW,
    )
    offer = {
        "urls": ["hello.tar.gz"],
        "sha256": word.sha256,
        "size": 10,
        "rollbackIndex": 0,
        "deviceTypes": [],
        "statement": word.sign(server.release_key).document(),
        "installTimeout": 600,
        "deviceTimeout": 3600,
        "health": [],
    }
    return {
        "id": uuid4(),
        "organization": ORGANIZATION,
        "deployment": deployment,
        "revision": "ef" * 32,
        "turn": 1,
        "component": deployment,
        "deployment_name": "Hello 1",
        "target_version": "1.0.0",
        "rollout_strategy": "canary",
        "rollout_percentage": 10,
        "status": "in_progress",
        "is_return": False,
        "is_retry": False,
        "start_requested": False,
        "source_commit": "12" * 20,
        "author": "Ada <ada@example.com>",
        "created_by": uuid4(),
        "metadata": {"update_package_url": "hello.tar.gz", "checksum": "", "release_notes": ""},
        "offer": offer,
        "perm_p": 2,
        "perm_step": 1,
        "perm_off": 0,
        "started_at": NOW,
        "created_at": NOW,
        "updated_at": NOW,
    }


def add_target(server: Running, run_seq: int, device_seq: int, **changes: Any) -> None:
    """A granted target of the run, with its batch and counter."""
    values = {
        "run_seq": run_seq,
        "device_seq": device_seq,
        "component": "hello",
        "batch": 1,
        "status": "pending",
        "attempt": 1,
        "position": 0,
        "created_at": NOW,
        "granted_at": NOW,
    } | changes
    with server.store.write() as connection:
        connection.execute(insert(t.targets), values)
        counters.recount(connection, run_seq)


def add_batch(server: Running, run_seq: int, number: int = 1) -> None:
    """An open batch of the run."""
    with server.store.write() as connection:
        connection.execute(
            insert(t.batches),
            {
                "run_seq": run_seq,
                "number": number,
                "name": f"batch-{number}",
                "is_last": True,
                "state": "open",
                "size": 1,
                "success_threshold": 95,
                "soak_s": 0,
                "opened_at": NOW,
            },
        )
