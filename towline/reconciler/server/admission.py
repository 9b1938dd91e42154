"""Enrolment, renewal and sessions: a device's signed requests, judged against git and the store."""

import asyncio
import time
from collections.abc import Callable

from sqlalchemy import Connection

from towline.reconciler.device_entries import git_device
from towline.reconciler.server.fleets import Fleets
from towline.reconciler.server.inlet import Inlet
from towline.reconciler.server.sessions import Session, Sessions
from towline.reconciler.server.wire import Answer, json_answer, problem
from towline.reconciler.store import access, enrolling, nonces, renewing, reporters
from towline.reconciler.store.access import KnownDevice
from towline.reconciler.store.engine import Store
from towline.reconciler.store.enrolling import Enrolled, Pending
from towline.reconciler.store.events import Event, record
from towline.reconciler.store.git_devices import GitDevice
from towline.schemas import envelope, times
from towline.schemas.enrolment import SESSION_TYPE, EnrolmentRequest, SessionRequest
from towline.schemas.envelope import Envelope
from towline.schemas.keys import PublicKey
from towline.schemas.problems import Refused
from towline.schemas.renewal import RENEWAL_TYPE, RenewalRequest

CLOCK_TOLERANCE_S = 300

_STATUS = {
    "join-token": 403,
    "unknown-join-token": 404,
    "revoked": 403,
    "duplicate-identity": 403,
    "id-taken": 409,
    "key-in-git": 409,
    "too-many-pending": 429,
    "clock": 401,
    "unknown-device": 401,
    "threshold": 401,
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
        """Answer an enrolment, or the renewal of a key; raises Full."""
        try:
            sealed = envelope.parse(body)
            if sealed.payload_type == RENEWAL_TYPE:
                return await self._renew(sealed)
            request = await asyncio.to_thread(EnrolmentRequest.verify, sealed)
            return await self._enrol(request, join_token, source)
        except Refused as refused:
            return refusal(refused)

    async def _enrol(
        self, request: EnrolmentRequest, join_token: str | None, source: str
    ) -> Answer:
        now = int(self._clock())
        git = self._of(request)

        def write(connection: Connection) -> Enrolled | Pending:
            outcome = enrolling.enrol(
                connection, request, git=git, join_token=join_token, source=source, now=now
            )
            if event := _event(request, outcome):
                record(connection, request.organization, now, event)
            return outcome

        outcome = await self._inlet.write(write)
        if isinstance(outcome, Pending):
            told = {"fingerprint": outcome.fingerprint, "keyChange": outcome.is_key_change}
            return json_answer(202, {"status": "pending"} | told)
        return _accepted(request)

    async def _renew(self, sealed: Envelope) -> Answer:
        now = int(self._clock())
        request = await asyncio.to_thread(RenewalRequest.read, sealed)
        git = self._of(request.enrolment)

        def write(connection: Connection) -> None:
            if renewing.renew(connection, sealed, request, git):
                device = request.enrolment.device
                event = Event("device.key-renewed", device=device, cause="the device itself")
                record(connection, request.enrolment.organization, now, event)

        await self._inlet.write(write)
        return _accepted(request.enrolment)

    def _of(self, request: EnrolmentRequest) -> GitDevice | None:
        """What git says of the device; raises Refused where its fleet is not served here."""
        fleet = self._fleets.find(request.organization)
        if fleet is None:
            raise Refused("wrong-org", request.organization)
        return git_device(fleet.devices().get(request.device))

    async def open_session(self, body: bytes) -> Answer:
        """Answer a session request; raises Full."""
        now = int(self._clock())
        try:
            sealed = envelope.parse(body)
            request = SessionRequest.read(sealed)
        except Refused as refused:
            return refusal(refused)
        try:
            device, key = await asyncio.to_thread(self._authenticate, sealed, request, now)
            token, heard = await self._open(device, key, request, now)
        except Refused as refused:
            if refused.code == "clock":
                time_now = times.to_rfc3339(now)
                return problem(401, "clock", "issuedAt is too far off", time=time_now)
            return refusal(refused, _STATUS.get(refused.code, 401))
        answer = {"token": token, "expiresIn": access.SESSION_LIFE_S}
        answer |= {"time": times.to_rfc3339(now), "journal": heard[0], "reportSeq": heard[1]}
        return json_answer(200, answer)

    async def _open(
        self, device: KnownDevice, key: PublicKey, request: SessionRequest, now: int
    ) -> tuple[str, tuple[str, int]]:
        """The token, and the journal and number that were last heard of."""
        who = (device.seq, device.slug, request.keyid)
        session = Session(*who, now + access.SESSION_LIFE_S, request.organization)

        def write(connection: Connection) -> tuple[str, tuple[str, int]]:
            nonces.use(connection, device.seq, request.nonce, now)
            token = access.open_session(
                connection, request.organization, device.slug, key, request.boot_id, now
            )
            # It begins when its commit is told of; one that fails leaves the device the former.
            self._sessions.expect(token, session)
            return token, reporters.heard(connection, device.seq)

        return await self._inlet.write(write)

    def knows(self, organization: str, device: str, keyid: str) -> bool:
        """Whether a device is known by that id and that key; blocks."""
        if self._fleets.find(organization) is None:
            return False
        with self._store.read() as connection:
            found = access.find_device(connection, organization, device)
        return found is not None and found.key is not None and found.key.keyid == keyid

    def _authenticate(
        self, sealed: Envelope, request: SessionRequest, now: int
    ) -> tuple[KnownDevice, PublicKey]:
        """The device that signed, and its key; raises Refused."""
        if self._fleets.find(request.organization) is None:
            raise Refused("unknown-device")
        with self._store.read() as connection:
            device = access.find_device(connection, request.organization, request.device)
        if device is None or device.key is None or device.key.keyid != request.keyid:
            raise Refused("unknown-device")
        sealed.verify(SESSION_TYPE, [device.key], 1)
        device.demand_active()
        if abs(request.issued_at - now) > CLOCK_TOLERANCE_S:
            raise Refused("clock")
        return device, device.key


def _accepted(request: EnrolmentRequest) -> Answer:
    accepted = {"status": "accepted", "device": request.device}
    return json_answer(201, accepted | {"organization": request.organization})


def _event(request: EnrolmentRequest, outcome: Enrolled | Pending) -> Event | None:
    device, cause = request.device, "enrolment"
    match outcome:
        case Pending(is_new=True, fingerprint=shown):
            return Event("device.pending", device=device, message=shown, cause=cause)
        case Enrolled(is_new=True):
            return Event("device.enrolled", device=device, cause=cause)
        case Enrolled(is_key_changed=True):
            message = "git lists another key"
            return Event("device.key-changed", device=device, message=message, cause=cause)
    return None
