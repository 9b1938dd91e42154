"""A small Towline server for the agent's tests: real TLS, real signatures, one organization.

It implements docs/device-protocol.md over http.server, keeps everything in memory, and can be told
to misbehave.
"""

import hashlib
import json
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.agent.certificate import make_certificate
from towline.schemas import desired_state, envelope, reports, times
from towline.schemas.desired_state import ComponentAction, ComponentWanted, DesiredState
from towline.schemas.enrolment import EnrolmentRequest, JoinString, SessionRequest
from towline.schemas.keys import PrivateKey, PublicKey
from towline.schemas.problems import Refused
from towline.schemas.renewal import RENEWAL_TYPE, RenewalRequest
from towline.schemas.reports import Report
from towline.schemas.root import Role, Root
from towline.schemas.statement import Statement
from towline.schemas.states import TargetState
from towline.schemas.verifier import root_fingerprint

ORGANIZATION = "acme"
LIFE_S = 2 * 86400


@dataclass(frozen=True)
class Keys:
    """One key for each role."""

    root: PrivateKey = field(default_factory=PrivateKey.generate)
    release: PrivateKey = field(default_factory=PrivateKey.generate)
    online: PrivateKey = field(default_factory=PrivateKey.generate)

    def make_root(self, version: int = 1, **changes: Any) -> Root:
        """A root that names these keys."""
        values: dict[str, Any] = {
            "version": version,
            "organization": ORGANIZATION,
            "expires": int(time.time()) + 400 * 86400,
            "root": Role((self.root.public,), 1),
            "release": Role((self.release.public,), 1),
            "online": Role((self.online.public,), 1),
            "is_development": True,
        }
        return Root(**values | changes)


@dataclass
class Answer:
    """What a request is answered with."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


def problem(status: int, code: str, **more: Any) -> Answer:
    document = {"type": "about:blank", "title": code, "status": status, "code": code, **more}
    return Answer(status, json.dumps(document).encode())


class FleetServer:
    """The server; `wanted` is what each device should run, `reports` what they said."""

    def __init__(self, folder: Path) -> None:
        self.keys = Keys()
        self.roots = [self.keys.make_root().sign(self.keys.root)]
        self.root_version = 1
        self.tokens: set[str] = set()
        self.needs_approval = False
        self.refuses_renewal = ""
        self.loses_an_answer = False
        self.shut_out = ""
        self.devices: dict[str, PublicKey] = {}
        self.sessions: dict[str, str] = {}
        self.boots: list[str] = []
        self.wanted: dict[str, tuple[ComponentWanted, ...]] = {}
        self.packages: dict[str, bytes] = {}
        self.reports: list[tuple[str, Report]] = []
        self.requests: list[str] = []
        self.changed = threading.Condition()
        self.tamper: Callable[[DesiredState], DesiredState] = lambda document: document
        self.takes_reports = True
        self.parked = 0
        self.poll_after_s = 1
        self._reported: dict[tuple[str, str], int] = {}
        context, self.pin = make_certificate(folder)
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _route_of(self))
        self._http.daemon_threads = True
        self._http.socket = context.wrap_socket(
            self._http.socket, server_side=True, do_handshake_on_connect=False
        )
        self.address = f"https://127.0.0.1:{self._http.server_address[1]}"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,))

    def __enter__(self) -> "FleetServer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()

    def join(self) -> JoinString:
        """A join string with a token for one use."""
        token = secrets.token_urlsafe(16)
        self.tokens.add(token)
        root = root_fingerprint(self.roots[0])
        return JoinString(self.address, ORGANIZATION, token, root, self.pin)

    def want(self, device: str, *components: ComponentWanted) -> None:
        """Change what a device should run."""
        with self.changed:
            self.wanted[device] = components
            self.changed.notify_all()

    def forget_reports(self) -> None:
        """As if no device had ever reported."""
        self.reports.clear()
        self._reported.clear()

    def states(self, device: str, component: str = "hello") -> list[str]:
        """The states that a device reported, in order."""
        return [
            report.attempt.state.value
            for name, report in self.reports
            if name == device and report.attempt and report.attempt.component == component
        ]

    def last(self, device: str) -> reports.Attempt:
        """The last report of an attempt."""
        found = [r.attempt for name, r in self.reports if name == device and r.attempt]
        return found[-1]

    def answer(self, method: str, path: str, headers: Any, body: bytes) -> Answer:
        """Route one request."""
        url = urlsplit(path)
        self.requests.append(f"{method} {url.path}")
        try:
            if url.path.startswith("/api/v1/ota/root/"):
                number = int(url.path.rpartition("/")[2])
                known = number <= len(self.roots)
                return Answer(200, self.roots[number - 1]) if known else problem(404, "no-root")
            if url.path.startswith("/packages/"):
                return self.package(url.path.removeprefix("/packages/"), headers)
            if url.path == "/api/v1/ota/enroll":
                return self.enrol(headers.get("Authorization", ""), body)
            if url.path == "/api/v1/ota/session":
                return self.session(body)
            device = self.sessions.get(headers.get("Authorization", "").removeprefix("Bearer "))
            if device is None:
                return problem(401, "session")
            if url.path == "/api/v1/ota/reports":
                return self.take(device, body) if self.takes_reports else Answer(503)
            wait = int(parse_qs(url.query).get("wait", ["0"])[0])
            return self.document(device, headers, wait)
        except Refused as refused:
            return problem(400, refused.code, detail=str(refused))

    def enrol(self, authorization: str, body: bytes) -> Answer:
        sealed = envelope.parse(body)
        if sealed.payload_type == RENEWAL_TYPE:
            return self.renew(sealed)
        request = EnrolmentRequest.verify(sealed)
        known = self.devices.get(request.device)
        if known is not None and known != request.public_key:
            return problem(409, "id-taken")
        if known is None:
            if self.needs_approval:
                fingerprint = request.public_key.keyid[:8]
                return Answer(
                    202, json.dumps({"status": "pending", "fingerprint": fingerprint}).encode()
                )
            token = authorization.removeprefix("Join ")
            if token not in self.tokens:
                return problem(403, "join-token")
            self.tokens.discard(token)
            self.devices[request.device] = request.public_key
        return accepted(request)

    def renew(self, sealed: envelope.Envelope) -> Answer:
        if self.refuses_renewal:
            return problem(409, self.refuses_renewal)
        request = RenewalRequest.read(sealed)
        asked = request.enrolment
        known = self.devices.get(asked.device)
        if known == asked.public_key:
            return accepted(asked)
        if known is None or known.keyid != request.keyid:
            return problem(401, "unknown-device")
        request.verify(sealed, known)
        self.devices[asked.device] = asked.public_key
        self.sessions.clear()
        if self.loses_an_answer:
            self.loses_an_answer = False
            return Answer(503)
        return accepted(asked)

    def session(self, body: bytes) -> Answer:
        sealed = envelope.parse(body)
        request = SessionRequest.read(sealed)
        key = self.devices.get(request.device)
        if key is None or key.keyid != request.keyid:
            return problem(401, "unknown-device")
        sealed.verify("application/vnd.towline.session.v1+json", [key], 1)
        self.boots.append(request.boot_id)
        if self.shut_out:
            return problem(403, self.shut_out)
        token = secrets.token_urlsafe(16)
        self.sessions[token] = request.device
        now = times.to_rfc3339(time.time())
        return Answer(200, json.dumps({"token": token, "expiresIn": 3600, "time": now}).encode())

    def document(self, device: str, headers: Any, wait: int) -> Answer:
        asked = headers.get("If-None-Match")
        end = time.monotonic() + wait
        with self.changed:
            while (
                tag := desired_state.etag(self.wanted.get(device, ()))
            ) == asked and time.monotonic() < end:
                self.parked += 1
                self.changed.wait(end - time.monotonic())
                self.parked -= 1
            if tag == asked:
                return Answer(304, headers={"ETag": tag})
            components = self.wanted.get(device, ())
        now = int(time.time())
        document = DesiredState(
            organization=ORGANIZATION,
            device=device,
            device_key=self.devices[device].keyid,
            nonce=headers.get("Towline-Nonce", ""),
            sequence=max(int(headers.get("Towline-Sequence", "0")) + 1, int(time.time() * 1000)),
            issued_at=now,
            expires=now + LIFE_S,
            root_version=self.root_version,
            poll_after_s=self.poll_after_s,
            components=components,
        )
        sealed = self.tamper(document).sign(self.keys.online)
        return Answer(200, sealed.to_bytes(), {"ETag": tag})

    def take(self, device: str, body: bytes) -> Answer:
        with self.changed:
            for report in reports.parse_many(json.loads(body)):
                if report.report_seq <= self._reported.get((device, report.journal), 0):
                    continue
                self._reported[device, report.journal] = report.report_seq
                self.reports.append((device, report))
                self._settle(device, report)
            self.changed.notify_all()
        return Answer(204)

    def _settle(self, device: str, report: Report) -> None:
        """As the reconciler does: an attempt that is over is no longer granted."""
        done = report.attempt
        if done is None or done.state is not TargetState.COMPLETED:
            return
        self.wanted[device] = tuple(
            with_action(each, ComponentAction.KEEP) if each.name == done.component else each
            for each in self.wanted.get(device, ())
        )

    def package(self, name: str, headers: Any) -> Answer:
        data = self.packages.get(name)
        if data is None:
            return problem(404, "no-package")
        tag = f'"{hashlib.sha256(data).hexdigest()[:16]}"'
        found = {"ETag": tag, "Accept-Ranges": "bytes"}
        wanted = headers.get("Range")
        if wanted and headers.get("If-Range") == tag:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            found["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
            return Answer(206, data[start:], found)
        return Answer(200, data, found)


def accepted(request: EnrolmentRequest) -> Answer:
    told = {"status": "accepted", "device": request.device, "organization": ORGANIZATION}
    return Answer(201, json.dumps(told).encode())


def with_action(wanted: ComponentWanted, action: ComponentAction) -> ComponentWanted:
    """The same component with another action."""
    values = {name: getattr(wanted, name) for name in wanted.__dataclass_fields__}
    return ComponentWanted(**values | {"action": action})


def sign_statement(keys: Keys, **values: Any) -> envelope.Envelope:
    """A statement by the release key."""
    return Statement(organization=ORGANIZATION, built_at=1_790_000_000, **values).sign(keys.release)


def _route_of(fleet: FleetServer) -> type[BaseHTTPRequestHandler]:
    class Route(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            answer = fleet.answer(self.command, self.path, self.headers, body)
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            if answer.status not in (204, 304):
                self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            if answer.status not in (204, 304):
                self.wfile.write(answer.body)

        do_GET = do_POST = _serve

        def log_message(self, *_: object) -> None:
            """Quiet."""

    return Route
