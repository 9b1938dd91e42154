"""Enrolment and sessions: a device's signed requests, judged against git and the store."""

import base64
import time
from collections.abc import Callable

from towline.manifests.model import DeviceEntry
from towline.reconciler.server.fleets import Fleets
from towline.reconciler.server.sessions import Session, Sessions
from towline.reconciler.server.wire import Answer, json_answer, problem
from towline.reconciler.store import access
from towline.reconciler.store.access import Enrolled, GitDevice, KnownDevice
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
    """Answers `enroll` and `session`; its methods block and run in worker threads."""

    def __init__(
        self,
        store: Store,
        sessions: Sessions,
        fleets: Fleets,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._sessions = sessions
        self._fleets = fleets
        self._clock = clock

    def enrol(self, body: bytes, join_token: str | None, source: str) -> Answer:
        """Answer an enrolment."""
        now = int(self._clock())
        try:
            request = EnrolmentRequest.verify(envelope.parse(body))
            fleet = self._fleets.find(request.organization)
            if fleet is None:
                raise Refused("wrong-org", request.organization)
            git = git_device(fleet.devices().get(request.device))
            with self._store.write() as connection:
                outcome = access.enrol(
                    connection, request, git=git, join_token=join_token, source=source, now=now
                )
                if isinstance(outcome, Enrolled) and outcome.is_new:
                    event = Event("device.enrolled", device=request.device, cause="enrolment")
                    record(connection, fleet.organization, now, event)
        except Refused as refused:
            return refusal(refused)
        if not isinstance(outcome, Enrolled):
            return json_answer(202, {"status": "pending", "fingerprint": outcome.fingerprint})
        fleet.wake()
        accepted = {"status": "accepted", "device": request.device}
        return json_answer(201, accepted | {"organization": fleet.organization})

    def open_session(self, body: bytes) -> Answer:
        """Answer a session request."""
        now = int(self._clock())
        try:
            sealed = envelope.parse(body)
            request = SessionRequest.read(sealed)
        except Refused as refused:
            return refusal(refused)
        try:
            device = self._authenticate(sealed, request, now)
        except Refused as refused:
            if refused.code == "clock":
                time_now = times.to_rfc3339(now)
                return problem(401, "clock", "issuedAt is too far off", time=time_now)
            return refusal(refused, _STATUS.get(refused.code, 401))
        expires_at = now + access.SESSION_LIFE_S
        with self._store.write() as connection:
            token = access.open_session(connection, device.seq, now)
            # Under the store's lock: of two requests at once, the same one is last in both.
            who = (device.seq, device.slug, request.keyid, expires_at, request.organization)
            self._sessions.open(token, Session(*who))
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
