"""The API for old devices: whether the organization lets them in, and a token for each.

A token is shown once. A device that is not in the inventory is put there with its first one, since
it cannot enrol by itself.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, StrictBool

from towline.reconciler.server.desk import Declined, Desk, wall_clock
from towline.reconciler.server.given_labels import GivenLabels
from towline.reconciler.server.receiving import Administrator, AtDesk, Viewer
from towline.reconciler.store import audit, device_tokens, reading_devices
from towline.reconciler.store.device_tokens import NewDevice, NoToken
from towline.reconciler.store.events import Event, record
from towline.reconciler.store.people import Person
from towline.schemas.identifiers import ID_GRAMMAR, is_id

router = APIRouter(prefix="/api/v1/admin/ota")


class Leave(BaseModel):
    """Whether old devices are let in."""

    model_config = ConfigDict(extra="forbid")
    allowed: StrictBool
    reason: str = Field(default="", max_length=1000)


class DeviceTokenRequest(BaseModel):
    """What the inventory is to know of a device that is not in it yet."""

    model_config = ConfigDict(extra="forbid")
    device_type: str | None = Field(default=None, pattern=rf"^{ID_GRAMMAR}$")
    labels: GivenLabels = Field(default_factory=dict)


class TokenEndRequest(BaseModel):
    """Why a device's token ends."""

    model_config = ConfigDict(extra="forbid")
    reason: str = Field(min_length=1, max_length=1000)


@router.get("/old-devices")
def get_old_devices(desk: AtDesk, person: Viewer) -> dict[str, Any]:
    """Whether the organization lets old devices in, and how many have a token."""
    with desk.store.read() as connection:
        return {
            "allowed": device_tokens.are_let_in(connection, person.organization),
            "devices": device_tokens.count(connection, person.organization),
        }


@router.put("/old-devices")
def let_old_devices(desk: AtDesk, person: Administrator, body: Leave) -> dict[str, Any]:
    """Let old devices in, or shut them out; their tokens are kept."""
    action = "old-devices.allow" if body.allowed else "old-devices.forbid"
    act = desk.doing(person, action, reason=body.reason)
    with act as store, store.write() as connection:
        now = wall_clock()
        if body.allowed:
            device_tokens.let_in(connection, person.organization, person.name, now)
        else:
            device_tokens.shut_out(connection, person.organization)
        event = Event(action, message=body.reason, cause=f"{action} by {person.name}")
        record(connection, person.organization, now, event)
    return get_old_devices(desk, person)


@router.post("/devices/{device}/token", status_code=201)
def create_device_token(
    desk: AtDesk, person: Administrator, device: str, body: DeviceTokenRequest | None = None
) -> dict[str, Any]:
    """A token for a device that verifies no signature; it is shown this once."""
    wanted = body or DeviceTokenRequest()
    with (
        desk.doing(person, "device-token.create", device=device[:63]) as store,
        _declining(),
        store.write() as connection,
    ):
        now = wall_clock()
        slug = reading_devices.find_slug(connection, person.organization, device)
        if slug is None:
            slug = device
            new = _new_device(desk, person, device, wanted)
            device_tokens.add_device(connection, person.organization, new, now)
        audit.tell(connection, device=slug)
        token = device_tokens.create(connection, person.organization, slug, person.name, now)
        event = Event("device-token.created", device=slug, cause=f"create by {person.name}")
        record(connection, person.organization, now, event)
    return {"device_id": slug, "token": token}


@router.post("/devices/{device}/token/rotate", status_code=201)
def rotate_device_token(desk: AtDesk, person: Administrator, device: str) -> dict[str, Any]:
    """A new token for the device, shown this once; the former one ends now."""
    slug = desk.slug_of(device, person)
    act = desk.doing(person, "device-token.rotate", device=slug)
    with act as store, _declining(), store.write() as connection:
        now = wall_clock()
        token = device_tokens.rotate(connection, person.organization, slug, person.name, now)
        event = Event("device-token.rotated", device=slug, cause=f"rotate by {person.name}")
        record(connection, person.organization, now, event)
    return {"device_id": slug, "token": token}


@router.post("/devices/{device}/token/revoke")
def revoke_device_token(
    desk: AtDesk, person: Administrator, device: str, body: TokenEndRequest
) -> dict[str, Any]:
    """End the device's token."""
    slug = desk.slug_of(device, person)
    act = desk.doing(person, "device-token.revoke", device=slug, reason=body.reason)
    with act as store, _declining(), store.write() as connection:
        device_tokens.revoke(connection, person.organization, slug)
        event = Event(
            "device-token.revoked",
            device=slug,
            message=body.reason,
            cause=f"revoke by {person.name}",
        )
        record(connection, person.organization, wall_clock(), event)
    return {"status": "revoked", "device_id": slug}


def _new_device(desk: Desk, person: Person, device: str, body: DeviceTokenRequest) -> NewDevice:
    """What the inventory is to hold; raises Declined where git or the call says otherwise."""
    head = desk.head()
    is_ours = head is not None and head.organization == person.organization
    entry = head.devices.get(device) if head is not None and is_ours else None
    device_type = body.device_type or (entry.device_type if entry else None)
    if device_type is None or not is_id(device):
        words = f"there is no device {device[:80]}; device_type (--type) puts it into the inventory"
        raise Declined(404, "not-found", words)
    if entry is not None and (entry.revoked or entry.public_key is not None):
        why = "says `state: revoked`" if entry.revoked else "names a key, with which it enrols"
        raise Declined(409, "not-allowed", f"the manifest of {device} {why}: {entry.file}")
    labels_git = dict(entry.labels) if entry else {}
    return NewDevice(device, device_type, body.labels, labels_git)


@contextmanager
def _declining() -> Iterator[None]:
    try:
        yield
    except NoToken as refused:
        raise Declined(409, "not-allowed", str(refused)) from None
