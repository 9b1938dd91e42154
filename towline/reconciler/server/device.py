"""The devices' protocol as raw ASGI, because it is what a fleet calls all day.

docs/device-protocol.md describes the calls. An unchanged poll touches no database: the session
and the content come from memory, and a parked poll sleeps until its device's bell rings.
"""

import asyncio
import re
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs

import structlog

from towline.reconciler.server import wire
from towline.reconciler.server.fleets import Fleets
from towline.reconciler.server.inlet import Full
from towline.reconciler.server.old_devices import STATUS_CALL, OldDevices
from towline.reconciler.server.polls import NO_SESSION, Polls, Waiting, token_of
from towline.reconciler.server.reporting import RECEIPT, Reporting
from towline.reconciler.server.sessions import Session, Sessions
from towline.reconciler.server.strangers import Strangers
from towline.reconciler.server.wire import (
    BUSY,
    STORE_AWAY,
    Answer,
    Receive,
    Scope,
    Send,
    problem,
)
from towline.reconciler.store.engine import AWAY
from towline.reconciler.tallies import DeviceTally

PREFIX = "/api/v1/ota/"
_ROOT = re.compile(r"[1-9]\d{0,5}")
_BROKEN = problem(500, "internal", "the server failed at this call; its log says why")

log = structlog.get_logger()


class DeviceProtocol:
    """Answers everything under /api/v1/ota/."""

    def __init__(
        self,
        *,
        strangers: Strangers,
        sessions: Sessions,
        polls: Polls,
        reporting: Reporting,
        old_devices: OldDevices,
        fleets: Fleets,
        tally: DeviceTally,
    ) -> None:
        self._tally = tally
        self._strangers = strangers
        self._sessions = sessions
        self._polls = polls
        self._reporting = reporting
        self._old_devices = old_devices
        self._fleets = fleets

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        try:
            answer = await self._answer(scope, receive)
        except wire.Disconnected:
            return
        except wire.TooLarge:
            answer = wire.too_large(wire.DEVICE_BODY_LIMIT)
        except wire.NoRoom:
            self._tally.turned_away["busy"] += 1
            answer = wire.NO_ROOM
        except Full:
            self._tally.turned_away["busy"] += 1
            answer = BUSY
        except AWAY as error:
            log.error("store.away", error=str(error.args[0]).strip())
            answer = STORE_AWAY
        except Exception:
            # Whatever it was, no device stays without an answer that it can read.
            log.exception("call.failed", path=scope["path"])
            answer = _BROKEN
        await answer.send(send)

    async def _answer(self, scope: Scope, receive: Receive) -> Answer:
        method, call = scope["method"], scope["path"].removeprefix(PREFIX)
        match method, call:
            case "GET", "desired-state":
                return await self._desired_state(scope, receive)
            case "POST", "reports":
                return await self._take_reports(scope, receive)
            case "POST", "session" | "enroll":
                return await self._admit(scope, receive, call)
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

    async def _admit(self, scope: Scope, receive: Receive, call: str) -> Answer:
        body = await wire.read_body(receive, wire.DEVICE_BODY_LIMIT)
        source = wire.source_of(scope)
        if call == "session":
            return await self._strangers.open_session(source, body)
        token = _credential(wire.headers_of(scope), "Join ")
        return await self._strangers.enrol(source, body, token)

    async def _session(self, headers: Mapping[bytes, bytes]) -> Session | None:
        """Whose call it is; the session may have been opened at another process."""
        now, token = int(time.time()), token_of(headers)
        found = self._sessions.find(token, now) or await self._sessions.look_up(token, now)
        if found is None:
            self._tally.turned_away["session"] += 1
        return found

    async def _take_reports(self, scope: Scope, receive: Receive) -> Answer:
        """Reports; those that come plainly were taken before they came here."""
        body = await wire.read_body(receive, wire.DEVICE_BODY_LIMIT)
        headers = dict(scope["headers"])
        session = await self._session(headers)
        if session is None:
            return NO_SESSION
        answered: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        receipt = headers.get(RECEIPT, b"")
        found = self._reporting.take(session, receipt, body, answered.set_result)
        if isinstance(found, Answer):
            return found
        try:
            return await answered
        finally:
            found.give_up()

    async def _desired_state(self, scope: Scope, receive: Receive) -> Answer:
        """A poll; those that are plain were answered before they came here."""
        headers = dict(scope["headers"])
        session = await self._session(headers)
        if session is None:
            return NO_SESSION
        found = self._polls.judge(session, headers, scope["query_string"], time.time())
        if isinstance(found, Answer):
            return found
        answered: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        waiting = Waiting(self._polls, found, answered.set_result)
        gone = asyncio.ensure_future(_until_gone(receive))
        try:
            both: list[asyncio.Future[Any]] = [answered, gone]
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            if not answered.done():
                raise wire.Disconnected
            return answered.result()
        finally:
            gone.cancel()
            waiting.give_up()


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _credential(headers: dict[str, str], scheme: str) -> str | None:
    value = headers.get("authorization", "")
    return value.removeprefix(scheme) if value.startswith(scheme) else None
