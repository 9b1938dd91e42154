"""Enrolment and sessions: a device's signed requests, judged against git and the store."""

import asyncio
import base64
import time
from collections.abc import Callable

from sqlalchemy import Connection

from towline.manifests.model import DeviceEntry
from towline.reconciler.server.fleets import Fleets
from towline.reconciler.server.inlet import Inlet
from towline.reconciler.server.sessions import Session, Sessions
from towline.reconciler.server.wire import Answer, json_answer, problem
from towline.reconciler.store import access
from towline.reconciler.store.access import Enrolled, GitDevice, KnownDevice, Pending
from towline.reconciler.store.engine import Store
from towline.reconciler.store.events import Event, record
from towline.schemas import envelope, times
from towline.schemas.enrolment import SESSION_TYPE, EnrolmentRequest, SessionRequest
from towline.schemas.envelope import Envelope
from towline.schemas.keys import PublicKey
from towline.schemas.problems import Refused

CLOCK_TOLERANCE_S = 300

_STATUS = {
    "join-token": 403,
    "revoked": 403,
    "id-taken": 409,
    "too-many-pending": 429,
    "clock": 401,
    "unknown-device": 401,
    "nonce-reused": 401,
}


def refusal(refused: Refused, status: int | None = None) -> Answer:
    """The problem that a refusal is answered with; 400 for what is malformed."""
    return problem(status or _STATUS.get(refused.code, 400), refused.code, str(refused))


class Admission:
    """Answers `enroll` and `session`: judges in a worker thread, and writes by the inlet."""

    def __init__(
        self,
        store: Store,
        inlet: Inlet,
        sessions: Sessions,
        fleets: Fleets,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._inlet = inlet
        self._sessions = sessions
        self._fleets = fleets
        self._clock = clock

    async def enrol(self, body: bytes, join_token: str | None, source: str) -> Answer:
        """Answer an enrolment; raises Full."""
        now = int(self._clock())
        try:
            request = await asyncio.to_thread(_verified, body)
            fleet = self._fleets.find(request.organization)
            if fleet is None:
                raise Refused("wrong-org", request.organization)
            git = git_device(fleet.devices().get(request.device))

            def write(connection: Connection) -> Enrolled | Pending:
                outcome = access.enrol(
                    connection, request, git=git, join_token=join_token, source=source, now=now
                )
                if isinstance(outcome, Enrolled) and outcome.is_new:
                    event = Event("device.enrolled", device=request.device, cause="enrolment")
                    record(connection, request.organization, now, event)
                return outcome

            outcome = await asyncio.wrap_future(self._inlet.write(write))
        except Refused as refused:
            return refusal(refused)
        if not isinstance(outcome, Enrolled):
            return json_answer(202, {"status": "pending", "fingerprint": outcome.fingerprint})
        fleet.wake()
        accepted = {"status": "accepted", "device": request.device}
        return json_answer(201, accepted | {"organization": fleet.organization})

    async def open_session(self, body: bytes) -> Answer:
        """Answer a session request; raises Full."""
        now = int(self._clock())
        try:
            sealed = envelope.parse(body)
            request = SessionRequest.read(sealed)
        except Refused as refused:
            return refusal(refused)
        try:
            device = await asyncio.to_thread(self._authenticate, sealed, request, now)
        except Refused as refused:
            if refused.code == "clock":
                time_now = times.to_rfc3339(now)
                return problem(401, "clock", "issuedAt is too far off", time=time_now)
            return refusal(refused, _STATUS.get(refused.code, 401))
        who = (device.seq, device.slug, request.keyid)
        session = Session(*who, now + access.SESSION_LIFE_S, request.organization)

        def write(connection: Connection) -> str:
            token = access.open_session(connection, device.seq, now)
            # By the one who writes: of two requests at once, the same one is last in both.
            self._sessions.open(token, session)
            return token

        token = await asyncio.wrap_future(self._inlet.write(write))
        answer = {"token": token, "expiresIn": access.SESSION_LIFE_S}
        return json_answer(200, answer | {"time": times.to_rfc3339(now)})

    def _authenticate(self, sealed: Envelope, request: SessionRequest, now: int) -> KnownDevice:
        """The device that signed; raises Refused."""
        if self._fleets.find(request.organization) is None:
            raise Refused("unknown-device")
        with self._store.read() as connection:
            device = access.find_device(connection, request.organization, request.device)
        if device is None or device.key is None or device.key.keyid != request.keyid:
            raise Refused("unknown-device")
        sealed.verify(SESSION_TYPE, [device.key], 1)
        if device.is_revoked:
            raise Refused("revoked")
        if abs(request.issued_at - now) > CLOCK_TOLERANCE_S:
            raise Refused("clock")
        if not self._sessions.is_fresh(device.seq, request.nonce, now):
            raise Refused("nonce-reused")
        return device


def _verified(body: bytes) -> EnrolmentRequest:
    """The request, signed by the key that it names; raises Refused."""
    return EnrolmentRequest.verify(envelope.parse(body))


def git_device(entry: DeviceEntry | None) -> GitDevice | None:
    """What enrolment needs of a Device manifest."""
    if entry is None:
        return None
    key = _key(entry.public_key) if entry.public_key else None
    return GitDevice(dict(entry.labels), key, entry.revoked)


def _key(text: str) -> PublicKey:
    """`ed25519:<hex>`, or base64 as other tools write it."""
    digits = text.removeprefix("ed25519:")
    if len(digits) == 64:
        return PublicKey.from_hex(digits)
    try:
        return PublicKey.from_hex(base64.b64decode(digits, validate=True).hex())
    except ValueError:
        raise Refused("key", "the key in git is neither hex nor base64") from None
