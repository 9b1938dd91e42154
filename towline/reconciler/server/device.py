"""The devices' protocol as raw ASGI, because it is what a fleet calls all day.

docs/device-protocol.md describes the calls. An unchanged poll touches no database: the session
and the content come from memory, and a parked poll sleeps until its device's bell rings.
"""

import asyncio
import re
import time
from dataclasses import replace
from urllib.parse import parse_qs

import structlog

from towline.reconciler.server import wire
from towline.reconciler.server.admission import Admission, refusal
from towline.reconciler.server.doorbell import Doorbell
from towline.reconciler.server.fleets import Fleets
from towline.reconciler.server.inlet import Full, Inlet
from towline.reconciler.server.old_devices import STATUS_CALL, OldDevices
from towline.reconciler.server.served_documents import Content, Poll, ServedDocuments
from towline.reconciler.server.sessions import Session, Sessions
from towline.reconciler.server.wire import Answer, Receive, Scope, Send, problem
from towline.reconciler.store.engine import AWAY
from towline.reconciler.tallies import DeviceTally
from towline.schemas import reports, strict_json
from towline.schemas.problems import Refused

PREFIX = "/api/v1/ota/"
WAIT_LIMIT_S = 60
_NONCE = re.compile(r"[A-Za-z0-9_-]{22}")
_ROOT = re.compile(r"[1-9]\d{0,5}")
_NO_SESSION = problem(401, "session", "open a new session")
RETRY_AFTER_S = 10
_BUSY = replace(
    problem(503, "busy", "more waits to be written than there is room for: come later"),
    headers=(("retry-after", str(RETRY_AFTER_S)),),
)
_NOT_READY = problem(
    503, "not-ready", "no commit is in force yet, or its root names another online key"
)

_STORE_AWAY = replace(
    problem(503, "store", "the store cannot be used now: come later"), headers=_BUSY.headers
)

log = structlog.get_logger()


class DeviceProtocol:
    """Answers everything under /api/v1/ota/."""

    def __init__(
        self,
        *,
        admission: Admission,
        sessions: Sessions,
        documents: ServedDocuments,
        doorbell: Doorbell,
        inlet: Inlet,
        old_devices: OldDevices,
        fleets: Fleets,
        poll_interval_s: int,
        tally: DeviceTally,
    ) -> None:
        self._tally = tally
        self._admission = admission
        self._sessions = sessions
        self._documents = documents
        self._doorbell = doorbell
        self._inlet = inlet
        self._old_devices = old_devices
        self._fleets = fleets
        self._poll_interval_s = poll_interval_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        try:
            answer = await self._answer(scope, receive)
        except wire.Disconnected:
            return
        except wire.TooLarge:
            answer = wire.too_large(wire.DEVICE_BODY_LIMIT)
        except Full:
            self._tally.turned_away["busy"] += 1
            answer = _BUSY
        except AWAY as error:
            log.error("store.away", error=str(error.args[0]).strip())
            answer = _STORE_AWAY
        await answer.send(send)

    async def _answer(self, scope: Scope, receive: Receive) -> Answer:
        method, call = scope["method"], scope["path"].removeprefix(PREFIX)
        match method, call:
            case "GET", "desired-state":
                return await self._desired_state(scope, receive)
            case "POST", "reports":
                return await self._take_reports(scope, receive)
            case "POST", "session":
                body = await wire.read_body(receive, wire.DEVICE_BODY_LIMIT)
                return await self._admission.open_session(body)
            case "POST", "enroll":
                return await self._enrol(scope, receive)
            case "GET", _ if call.startswith("root/"):
                return self._root(call.removeprefix("root/"), scope["query_string"])
            case "GET", "check-update":
                return await self._old_devices.check(scope)
            case "POST", _ if (found := STATUS_CALL.fullmatch(call)) is not None:
                return await self._old_devices.status(scope, receive, found[1])
        return problem(404, "not-found", "there is no such call")

    def _root(self, number: str, query: bytes) -> Answer:
        asked = parse_qs(query.decode("latin-1")).get("organization")
        fleet = self._fleets.find(asked[-1]) if asked else self._fleets.only()
        roots = fleet.roots() if fleet else ()
        if _ROOT.fullmatch(number) is None or int(number) > len(roots):
            return problem(404, "not-found", "there is no such root")
        return Answer(200, roots[int(number) - 1])

    async def _enrol(self, scope: Scope, receive: Receive) -> Answer:
        body = await wire.read_body(receive, wire.DEVICE_BODY_LIMIT)
        token = _credential(wire.headers_of(scope), "Join ")
        source = scope["client"][0] if scope.get("client") else ""
        return await self._admission.enrol(body, token, source)

    def _session(self, headers: dict[str, str]) -> Session | None:
        token = _credential(headers, "Bearer ")
        return self._sessions.find(token, int(time.time())) if token else None

    async def _session_of_others(self, headers: dict[str, str]) -> Session | None:
        """One that was opened at another process, and is not known here yet."""
        token = _credential(headers, "Bearer ")
        found = await self._sessions.look_up(token, int(time.time())) if token else None
        if found is None:
            self._tally.turned_away["session"] += 1
        return found

    async def _take_reports(self, scope: Scope, receive: Receive) -> Answer:
        body = await wire.read_body(receive, wire.DEVICE_BODY_LIMIT)
        headers = wire.headers_of(scope)
        session = self._session(headers) or await self._session_of_others(headers)
        if session is None:
            return _NO_SESSION
        try:
            parsed = reports.parse_many(strict_json.parse(body))
        except Refused as refused:
            self._tally.reports[session.organization, "refused"] += 1
            return refusal(refused)
        await self._inlet.report(session.device_seq, parsed)
        self._tally.reports[session.organization, "accepted"] += len(parsed)
        return Answer(204)

    async def _desired_state(self, scope: Scope, receive: Receive) -> Answer:
        headers = wire.headers_of(scope)
        session = self._session(headers) or await self._session_of_others(headers)
        if session is None:
            return _NO_SESSION
        nonce, sequence = headers.get("towline-nonce", ""), headers.get("towline-sequence", "")
        if _NONCE.fullmatch(nonce) is None:
            return problem(400, "bad-field", "Towline-Nonce: 22 characters of base64url")
        if not (sequence.isascii() and sequence.isdecimal() and len(sequence) < 17):
            return problem(400, "bad-field", "Towline-Sequence: a whole number")
        if (packages_url := wire.packages_url(headers)) is None:
            return problem(400, "bad-field", "Host")
        if not self._fleets.roots_to_sign_under(session.organization):
            return _NOT_READY
        self._inlet.seen(session.device_seq, int(time.time()))
        known, wait_s = headers.get("if-none-match"), _wait_s(scope["query_string"])
        content = await self._changed_content(receive, session, packages_url, known, wait_s)
        if not self._sessions.is_live(session):
            # Revoked, or replaced by a newer session, while the poll was parked.
            return _NO_SESSION
        outcome = "unchanged" if content is None else "document"
        self._tally.polls[session.organization, outcome] += 1
        if content is None:
            return Answer(304, headers=(("etag", headers["if-none-match"]),))
        if not (roots := self._fleets.roots_to_sign_under(session.organization)):
            # Another root came while the poll was parked.
            return _NOT_READY
        poll = Poll(session, nonce, int(sequence), time.time_ns() // 1_000_000)
        if content.work:
            self._inlet.fetched(session.device_seq, content.work)
        body = self._documents.sign(content, poll, len(roots))
        return Answer(200, body, (("etag", content.etag), ("cache-control", "no-store")))

    async def _changed_content(
        self, receive: Receive, session: Session, packages_url: str, known: str | None, wait_s: int
    ) -> Content | None:
        """The content once it differs from `known`, None when the wait is over."""
        loop = asyncio.get_running_loop()
        until = loop.time() + wait_s
        gone = None
        try:
            while True:
                rings = self._doorbell.count(session.device_seq)
                content = await self._documents.content(session.device_seq, packages_url)
                if content.etag != known:
                    return content
                left = until - loop.time()
                is_over = left <= 0 or self._doorbell.is_closed
                if is_over or not self._sessions.is_live(session):
                    return None
                gone = gone or asyncio.ensure_future(_until_gone(receive))
                # Who is parked is there: a wait of many short poll intervals is no silence.
                nap = min(left, self._poll_interval_s)
                await self._doorbell.wait(session.device_seq, rings, nap, gone)
                if gone.done():
                    raise wire.Disconnected
                self._inlet.seen(session.device_seq, int(time.time()))
        finally:
            if gone is not None:
                gone.cancel()


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _credential(headers: dict[str, str], scheme: str) -> str | None:
    value = headers.get("authorization", "")
    return value.removeprefix(scheme) if value.startswith(scheme) else None


def _wait_s(query: bytes) -> int:
    """`wait=SECONDS`, at most 60; 0 when absent or no number."""
    if not query:
        return 0
    values = parse_qs(query.decode("latin-1")).get("wait", ["0"])
    text = values[0]
    is_number = text.isascii() and text.isdecimal() and len(text) < 7
    return min(WAIT_LIMIT_S, int(text)) if is_number else 0
