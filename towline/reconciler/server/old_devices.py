"""The contract's two calls for old devices: check-update and status, with a token each.

Unlike an agent's poll each call asks the store: these devices are few, and keep no session.
docs/device-protocol.md describes the calls.
"""

import asyncio
import re
import time
from typing import Any
from urllib.parse import parse_qs
from uuid import UUID

from towline.reconciler import old_devices
from towline.reconciler.old_devices import Look, StepRefused, UnknownTarget
from towline.reconciler.server import wire
from towline.reconciler.server.device_rates import (
    DeviceRates,
    too_many_calls,
    too_many_failures,
)
from towline.reconciler.server.doorbell import Doorbell
from towline.reconciler.server.fleets import Fleets
from towline.reconciler.server.inlet import Inlet
from towline.reconciler.server.traces import Traces
from towline.reconciler.server.wire import Answer, Receive, Scope, json_answer, problem
from towline.reconciler.store import device_tokens, dirt, outbox, presence
from towline.reconciler.store.device_tokens import OldDevice
from towline.reconciler.store.engine import Store
from towline.reconciler.tallies import DeviceTally
from towline.schemas import envelope, strict_json
from towline.schemas.problems import Refused
from towline.schemas.reports import MESSAGE_LIMIT
from towline.schemas.root import Role, parse_payload
from towline.schemas.states import TargetState

SCHEME = "TargetToken "
STATUS_CALL = re.compile(r"deployments/([^/]{1,80})/status")
GRANT_WAIT_S = 2.0
"""A device that can be granted now need not wait for its next check."""
_NOTHING = {"update_available": False}


class OldDevices:
    """Answers both calls; `check` and `status` belong to the event loop's thread."""

    def __init__(
        self,
        store: Store,
        doorbell: Doorbell,
        inlet: Inlet,
        fleets: Fleets,
        rates: DeviceRates,
        tally: DeviceTally,
    ) -> None:
        self._rates = rates
        self._tally = tally
        self._store = store
        self._doorbell = doorbell
        self._inlet = inlet
        self._fleets = fleets
        self._traces: dict[int, Traces] = {}

    async def check(self, scope: Scope) -> Answer:
        """What the device is to install, if anything."""
        device = await self._let_in(scope)
        if isinstance(device, Answer):
            return device
        packages_url = wire.packages_url(dict(scope["headers"]).get(b"host", b""))
        if packages_url is None:
            return problem(400, "bad-field", "Host")
        if not (roots := self._fleets.roots(device.organization)):
            return problem(503, "not-ready", "no commit of the fleet repository is in force yet")
        release = parse_payload(envelope.parse(roots[-1]).payload).release
        rings = self._doorbell.count(device.seq)
        seen = await asyncio.to_thread(self._look, device, release, packages_url)
        if seen.may_be_granted:
            await self._doorbell.wait(device.seq, rings, GRANT_WAIT_S)
            seen = await asyncio.to_thread(self._look, device, release, packages_url)
        if device.was_seen:
            self._inlet.seen(self._traces_of(device), int(time.time()))
        if seen.component:
            self._inlet.fetched(device.seq, (seen.component,))
        return json_answer(200, seen.offer or _NOTHING, ("cache-control", "no-store"))

    def _look(self, device: OldDevice, release: Role, packages_url: str) -> Look:
        now = int(time.time())
        with self._store.read() as connection:
            seen = old_devices.look(connection, device.seq, release, packages_url, now)
        if not device.was_seen:
            self._greet(device, now)
        if seen.says_anything:
            with self._store.write() as connection:
                old_devices.tell(connection, device.seq, seen, now)
                outbox.wake(connection)
        return seen

    def _greet(self, device: OldDevice, now: int) -> None:
        """It is there for the first time: whoever waits for devices need not wait for the inlet."""
        with self._store.write() as connection:
            presence.mark_seen(connection, {device.seq: now})
            dirt.mark_all(connection, device.organization)

    async def status(self, scope: Scope, receive: Receive, deployment: str) -> Answer:
        """Take in one step of the device's update."""
        body = await wire.read_body(receive, wire.DEVICE_BODY_LIMIT)
        device = await self._let_in(scope)
        if isinstance(device, Answer):
            return device
        return await asyncio.to_thread(self._take, device, body, deployment)

    def _take(self, device: OldDevice, body: bytes, deployment: str) -> Answer:
        read = _read(body)
        if isinstance(read, Answer):
            return read
        word, said = read
        try:
            run_id = UUID(deployment)
            with self._store.write() as connection:
                now = int(time.time())
                old_devices.step(connection, device.seq, run_id, word, said, now)
                outbox.wake(connection)
        except (ValueError, UnknownTarget):
            words = f"{device.slug} has no part in a deployment {deployment}"
            return problem(404, "not-found", words)
        except StepRefused as refused:
            return problem(409, "not-allowed", str(refused))
        return json_answer(200, {"status": "success", "message": f"Status updated to {word}"})

    async def _let_in(self, scope: Scope) -> OldDevice | Answer:
        """Whose call it is, or what it is answered with.

        Whoever has a token is looked at all the same: others at the same address lock nobody out.
        """
        found, now = await asyncio.to_thread(self._identify, scope), time.time()
        if isinstance(found, OldDevice):
            if not (wait_s := self._rates.take(self._traces_of(found), now)):
                return found
            self._tally.turned_away["rate"] += 1
            return too_many_calls(wait_s)
        source = wire.source_of(scope)
        if wait_s := self._rates.wait_s(source, now):
            self._tally.turned_away["failures"] += 1
            return too_many_failures(source, wait_s)
        self._rates.note_refused(source, None, now)
        return found

    def _traces_of(self, device: OldDevice) -> Traces:
        return self._traces.setdefault(device.seq, Traces(device.seq))

    def _identify(self, scope: Scope) -> OldDevice | Answer:
        """Whose token it is, or the problem that the call is answered with."""
        token = wire.headers_of(scope).get("authorization", "")
        if not token.startswith(SCHEME):
            return _unknown("a token is needed: Authorization: TargetToken TOKEN")
        with self._store.read() as connection:
            device = device_tokens.find(connection, token.removeprefix(SCHEME))
        if device is None:
            return _unknown("this token is unknown, was replaced, or its device is revoked")
        if not device.is_let_in:
            words = f"{device.organization} lets no old devices in; an admin may:"
            return problem(403, "old-devices", f"{words} towline device token allow")
        asked = parse_qs(scope["query_string"].decode("latin-1")).get("device_id", [""])
        if asked == [""]:
            return problem(422, "bad-field", "device_id is missing")
        if not device.is_called(asked[-1]):
            return problem(403, "wrong-device", "the token is of another device than device_id")
        return device


def _unknown(words: str) -> Answer:
    answer = problem(401, "token", words)
    headers = (("www-authenticate", "TargetToken"),)
    return Answer(answer.status, answer.body, headers, answer.content_type)


def _read(body: bytes) -> tuple[TargetState, str] | Answer:
    """The word and what the device says to it."""
    try:
        document: dict[str, Any] = strict_json.parse_object(body)
    except Refused as refused:
        return problem(400, refused.code, str(refused))
    said = document.get("error_message") or ""
    if not isinstance(said, str):
        return problem(422, "bad-field", "error_message: a text or null")
    word = document.get("status")
    if word not in list(old_devices.WORDS):
        return problem(422, "bad-field", f"status: one of {', '.join(old_devices.WORDS)}")
    return TargetState(word), said[:MESSAGE_LIMIT]
