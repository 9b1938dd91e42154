"""The API for enrolment: join tokens, who waits to be admitted, and shutting devices out.

A key is approved by its fingerprint, which the device shows, too: nobody admits another one by
mistake.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt

from towline.reconciler.device_entries import git_device
from towline.reconciler.server.desk import Declined, Desk, wall_clock
from towline.reconciler.server.given_labels import GivenLabels
from towline.reconciler.server.receiving import Administrator, AtDesk, Viewer
from towline.reconciler.store import admissions, audit
from towline.reconciler.store.admissions import NobodyWaits, StateForbids
from towline.reconciler.store.events import Event, record
from towline.reconciler.store.git_devices import GitDevice
from towline.reconciler.store.join_tokens import JOIN_TOKEN_LIFE_S, JoinTerms
from towline.reconciler.store.people import Person

JOIN_LIFE_LIMIT_S = 366 * 86400
FINGERPRINT = r"^[0-9a-fA-F]{4}(-[0-9a-fA-F]{4}){3}$"

router = APIRouter(prefix="/api/v1/admin/ota")

Reason = Annotated[str, Field(max_length=1000)]


class JoinRequest(BaseModel):
    """How devices join with the token, and what they get."""

    model_config = ConfigDict(extra="forbid")
    labels: GivenLabels = Field(default_factory=dict)
    max_uses: StrictInt = Field(default=1, ge=1, le=100_000)
    pending: StrictBool = False
    expires_in_s: StrictInt = Field(default=JOIN_TOKEN_LIFE_S, ge=1, le=JOIN_LIFE_LIMIT_S)


class KeyDecision(BaseModel):
    """Which key is meant, by the fingerprint that the device shows, and why."""

    model_config = ConfigDict(extra="forbid")
    fingerprint: str = Field(pattern=FINGERPRINT)
    reason: Reason = ""


class RevocationRequest(BaseModel):
    """Why a device is shut out."""

    model_config = ConfigDict(extra="forbid")
    reason: Reason = Field(min_length=1)


@router.post("/join-tokens", status_code=201)
def create_join_token(
    desk: AtDesk, person: Administrator, request: Request, body: JoinRequest | None = None
) -> dict[str, Any]:
    """A join string; it is shown this once."""
    wanted = body or JoinRequest()
    host = request.headers.get("host", "")
    terms = JoinTerms(wanted.labels, wanted.max_uses, wanted.pending, wanted.expires_in_s)
    return {"join": desk.new_join_string(person, host, terms)}


@router.get("/enrolments")
def list_enrolments(desk: AtDesk, person: Viewer) -> dict[str, Any]:
    """The keys that wait for an approval, oldest first; each is forgotten after a day."""
    with desk.store.read() as connection:
        found = admissions.waiting(connection, person.organization, wall_clock())
    return {"enrolments": found}


@router.post("/devices/{device}/approve")
def approve_device(
    desk: AtDesk, person: Administrator, device: str, body: KeyDecision
) -> dict[str, Any]:
    """Admit the key: of a new device, in the place of a former key, or one that was revoked."""
    now = wall_clock()
    act = _deciding(desk, person, "device.approve", device, body)
    with act as store, _declining(), store.write() as connection:
        done = admissions.approve(
            connection,
            person.organization,
            device,
            body.fingerprint,
            git=_of_git(desk, person, device),
            now=now,
        )
        audit.tell(connection, key_changed=done.is_key_changed)
        kind = "device.enrolled" if done.is_new else "device.let-in"
        event = Event(
            "device.key-changed" if done.is_key_changed else kind,
            device=device,
            message=body.reason,
            cause=f"approve by {person.name}",
        )
        record(connection, person.organization, now, event)
    return {"status": "accepted", "device_id": device, "key_changed": done.is_key_changed}


@router.post("/devices/{device}/deny")
def deny_device(
    desk: AtDesk, person: Administrator, device: str, body: KeyDecision
) -> dict[str, Any]:
    """Drop a key that waits; the device may ask again."""
    now = wall_clock()
    act = _deciding(desk, person, "device.deny", device, body)
    with act as store, _declining(), store.write() as connection:
        admissions.deny(connection, person.organization, device, body.fingerprint, now)
        cause = f"deny by {person.name}"
        event = Event("device.denied", device=device, message=body.reason, cause=cause)
        record(connection, person.organization, now, event)
    return {"status": "denied", "device_id": device}


@router.post("/devices/{device}/revoke")
def revoke_device(
    desk: AtDesk, person: Administrator, device: str, body: RevocationRequest
) -> dict[str, Any]:
    """Shut a device out: it keeps what it runs, and is served nothing."""
    now, slug = wall_clock(), desk.slug_of(device, person)
    act = desk.doing(person, "device.revoke", device=slug, reason=body.reason)
    with act as store, _declining(), store.write() as connection:
        admissions.revoke(connection, person.organization, slug, now)
        cause = f"revoke by {person.name}"
        event = Event("device.revoked", device=slug, message=body.reason, cause=cause)
        record(connection, person.organization, now, event)
    return {"status": "revoked", "device_id": slug}


def _deciding(desk: Desk, person: Person, action: str, device: str, body: KeyDecision) -> Any:
    """The act, told with the key that is meant."""
    told = {"fingerprint": body.fingerprint, "reason": body.reason}
    return desk.doing(person, action, device=device[:63], **told)


def _of_git(desk: Desk, person: Person, device: str) -> GitDevice | None:
    head = desk.head()
    is_ours = head is not None and head.organization == person.organization
    return git_device(head.devices.get(device)) if head is not None and is_ours else None


@contextmanager
def _declining() -> Iterator[None]:
    try:
        yield
    except NobodyWaits as refused:
        raise Declined(404, "not-found", str(refused)) from None
    except StateForbids as refused:
        raise Declined(409, "not-allowed", str(refused)) from None
