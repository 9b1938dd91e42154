"""The API for devices that leave the fleet: deleted, purged, or replaced by another one."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, StrictBool

from towline.reconciler import naming
from towline.reconciler.server.desk import Declined, Desk, wall_clock
from towline.reconciler.server.receiving import Administrator, AtDesk
from towline.reconciler.store import leaving
from towline.reconciler.store.admissions import StateForbids
from towline.reconciler.store.events import Event, record
from towline.schemas.identifiers import device_uuid

router = APIRouter(prefix="/api/v1/admin/ota/devices/{device}")

Reason = Annotated[str, Field(min_length=1, max_length=1000)]


class DeletionRequest(BaseModel):
    """Why a device leaves, and whether its name is forgotten, too."""

    model_config = ConfigDict(extra="forbid")
    reason: Reason
    purge: StrictBool = False


class ReplacementRequest(BaseModel):
    """Which device takes the place, and why."""

    model_config = ConfigDict(extra="forbid")
    by: str = Field(min_length=1, max_length=63)
    reason: Reason


@router.post("/delete")
def delete_device(
    desk: AtDesk, person: Administrator, device: str, body: DeletionRequest
) -> dict[str, Any]:
    """Take a device out of the inventory; purged, nothing but its UUID is left of it."""
    slug, now = desk.slug_of(device, person), wall_clock()
    action = "device.purge" if body.purge else "device.delete"
    act = desk.doing(person, action, device=slug, reason=body.reason)
    with act as store, _declining(), store.write() as connection:
        _demand_unlisted(desk, slug)
        if body.purge:
            leaving.purge(connection, person.organization, slug, now)
        else:
            leaving.leave(connection, person.organization, slug, now)
            cause = f"delete by {person.name}"
            event = Event("device.deleted", device=slug, message=body.reason, cause=cause)
            record(connection, person.organization, now, event)
    uuid = str(device_uuid(person.organization, slug))
    return {"status": "purged" if body.purge else "deleted", "uuid": uuid}


@router.post("/replace")
def replace_device(
    desk: AtDesk, person: Administrator, device: str, body: ReplacementRequest
) -> dict[str, Any]:
    """Another device takes its place and gets its labels; it is revoked.

    `named_in` are the manifests that name it: those are changed by a commit.
    """
    slug, by, now = desk.slug_of(device, person), desk.slug_of(body.by, person), wall_clock()
    told = {"by": str(device_uuid(person.organization, by)), "reason": body.reason}
    act = desk.doing(person, "device.replace", device=slug, **told)
    with act as store, _declining(), store.write() as connection:
        got = leaving.replace(connection, person.organization, slug, by, now)
        common: dict[str, Any] = {
            "cause": f"replace by {person.name}",
            "data": {"devices": [slug, by]},
        }
        out = Event("device.revoked", device=slug, message=f"{by} takes its place", **common)
        event = Event("labels.changed", device=by, message=f"in the place of {slug}", **common)
        record(connection, person.organization, now, out, event)
    head = desk.head()
    named_in = naming.named_in(head, slug) if head is not None else []
    return {
        "status": "replaced",
        "device_id": slug,
        "by": by,
        "labels": got,
        "named_in": named_in,
    }


def _demand_unlisted(desk: Desk, slug: str) -> None:
    """A device whose key git lists would come back with its next request."""
    head = desk.head()
    entry = head.devices.get(slug) if head is not None else None
    if entry is not None and entry.public_key is not None:
        raise Declined(
            409, "not-allowed", f"{entry.file} lists the key of {slug}: remove that from git first"
        )


@contextmanager
def _declining() -> Iterator[None]:
    try:
        yield
    except StateForbids as refused:
        raise Declined(409, "not-allowed", str(refused)) from None
