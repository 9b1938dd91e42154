"""The API for people under /api/v1/admin/ota: the contract's calls on Deployments, and ours.

Every call sees one organization, that of the token; what belongs to another one is 404.
"""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from towline.reconciler import acts, groups, showing, unmerged
from towline.reconciler.explain_deployment import explain_deployment
from towline.reconciler.explain_device import explain_device
from towline.reconciler.server import admin_acts, admin_unmerged
from towline.reconciler.server.desk import Administrator, AtDesk, Declined, Viewer, wall_clock
from towline.reconciler.server.sight import sight
from towline.reconciler.store import reading, reading_devices, reading_events
from towline.reconciler.store.reading import DevicesShown, Page
from towline.reconciler.store.reading_events import EventFilter
from towline.schemas.fields import MOST
from towline.schemas.identifiers import is_id
from towline.schemas.states import RunState

router = APIRouter(prefix="/api/v1/admin/ota")
router.include_router(admin_acts.router)

PageNumber = Annotated[int, Query(ge=1, le=1_000_000)]
PageSize = Annotated[int, Query(ge=1, le=100)]


class AcceptRequest(BaseModel):
    """Which held commit may be applied, and why."""

    model_config = ConfigDict(extra="forbid")
    commit: str = Field(pattern=r"^[0-9a-f]{7,64}$")
    reason: str = Field(min_length=1, max_length=1000)


class JoinRequest(BaseModel):
    """What devices get that join with the token."""

    model_config = ConfigDict(extra="forbid")
    labels: dict[str, str] = Field(default_factory=dict, max_length=64)
    max_uses: int = Field(default=1, ge=1, le=100_000)


@router.get("/deployments")
def list_deployments(
    desk: AtDesk,
    person: Viewer,
    status: RunState | None = None,
    name: str | None = None,
    page: PageNumber = 1,
    page_size: PageSize = 20,
) -> dict[str, Any]:
    """The contract's list, newest run first; before them what waits for its merge."""
    wanted = Page(page, page_size)
    with desk.store.read() as connection:
        items, total = unmerged.deployments(
            connection, person.organization, wanted, sight(desk), status=status, name=name
        )
    return {"deployments": items, "pagination": wanted.document(total)}


@router.get("/deployments/{deployment}")
def get_deployment(
    desk: AtDesk, person: Viewer, deployment: str, devices: DevicesShown = DevicesShown.ALL
) -> dict[str, Any]:
    """The contract's detail; a Deployment's name stands for its newest run."""
    with desk.store.read() as connection:
        run = reading.find_run(connection, person.organization, deployment)
        if run is None:
            row = admin_unmerged.find(connection, person, deployment)
            return unmerged.detail(connection, row, wall_clock())
        return showing.deployment(connection, run, sight(desk), devices)


@router.get("/deployments/{deployment}/batches")
def get_batches(desk: AtDesk, person: Viewer, deployment: str) -> dict[str, Any]:
    """The batches that were opened so far, and those that are still to come."""
    found = get_deployment(desk, person, deployment, DevicesShown.NONE)
    return {"batches": found["batches"]}


@router.get("/groups")
def list_groups(desk: AtDesk, person: Viewer) -> dict[str, Any]:
    """The DeviceGroups in force, with how many devices each has."""
    head = desk.head()
    if head is None or head.organization != person.organization:
        return {"groups": []}
    with desk.store.read() as connection:
        return {"groups": groups.groups(connection, head)}


@router.get("/devices")
def list_devices(
    desk: AtDesk, person: Viewer, page: PageNumber = 1, page_size: PageSize = 100
) -> dict[str, Any]:
    """Devices by id."""
    wanted = Page(page, page_size)
    with desk.store.read() as connection:
        items, total = reading_devices.devices(
            connection, person.organization, wanted, seen_after=desk.seen_after()
        )
    return {"devices": items, "pagination": wanted.document(total)}


@router.get("/devices/{device}")
def get_device(desk: AtDesk, person: Viewer, device: str) -> dict[str, Any]:
    """One device."""
    with desk.store.read() as connection:
        found = reading_devices.device(
            connection, person.organization, device, seen_after=desk.seen_after()
        )
    if found is None:
        raise _no_device(device)
    return found


@router.get("/devices/{device}/explain")
def tell_device(desk: AtDesk, person: Viewer, device: str) -> dict[str, Any]:
    """One device's story in words: what blocks, and the way out."""
    found = get_device(desk, person, device)
    with desk.store.read() as connection:
        story = explain_device(connection, person.organization, found["id"], sight(desk))
    if story is None:
        raise _no_device(device)
    return story


@router.get("/deployments/{deployment}/explain")
def tell_deployment(desk: AtDesk, person: Viewer, deployment: str) -> dict[str, Any]:
    """A Deployment's newest run in words: what is decided now, what holds it, the way out."""
    with desk.store.read() as connection:
        run = reading.find_run(connection, person.organization, deployment)
        if run is None:
            raise _no_deployment(deployment)
        story = explain_deployment(connection, person.organization, run.deployment, sight(desk))
    assert story is not None
    return story


@router.get("/events")
def list_events(
    desk: AtDesk,
    person: Viewer,
    deployment: str | None = None,
    device: str | None = None,
    after: Annotated[int, Query(ge=0, le=MOST)] = 0,
    since: Annotated[int | None, Query(ge=0, le=MOST)] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    important: bool = False,
    machine: bool = False,
) -> dict[str, Any]:
    """Events in order, equal repeats as one; without `after` the newest ones.

    `since` is in seconds since the epoch. `important`: of Deployments and failing devices only;
    `machine`: those for replay, too.
    """
    wanted = EventFilter(deployment, device, after, since, important, machine)
    with desk.store.read() as connection:
        items = reading_events.events(connection, person.organization, wanted, limit)
    return {"events": items}


@router.get("/repository")
def get_repository(desk: AtDesk, person: Viewer) -> dict[str, Any]:
    """The commit in force, what holds the next one, and the manifests that are broken."""
    with desk.store.read() as connection:
        found = reading_devices.repository(connection, person.organization)
    if found is None:
        raise Declined(404, "not-found", "no repository is followed yet")
    return found


@router.post("/repository/accept")
def accept_commit(desk: AtDesk, person: Administrator, body: AcceptRequest) -> dict[str, Any]:
    """Let a held commit be applied."""
    act = desk.doing(person, "repository.accept", on=body.commit, reason=body.reason)
    with act as store:
        try:
            acts.accept_commit(
                store,
                person.organization,
                body.commit,
                author=person.name,
                reason=body.reason,
                now=wall_clock(),
            )
        except acts.NotAllowed as refused:
            raise Declined(409, "not-allowed", str(refused)) from None
    desk.wake()
    return {"status": "accepted", "commit": body.commit}


@router.post("/join-tokens", status_code=201)
def create_join_token(
    desk: AtDesk, person: Administrator, request: Request, body: JoinRequest | None = None
) -> dict[str, Any]:
    """A join string; it is shown this once."""
    wanted = body or JoinRequest()
    if not all(is_id(key) and _is_label(value) for key, value in wanted.labels.items()):
        raise Declined(422, "bad-field", "labels: keys are ids, values at most 63 characters")
    host = request.headers.get("host", "")
    join = desk.new_join_string(person, host, labels=wanted.labels, max_uses=wanted.max_uses)
    return {"join": join}


def _is_label(text: str) -> bool:
    return len(text) <= 63 and text.isprintable()


def _no_deployment(text: str) -> Declined:
    return Declined(404, "not-found", f"there is no deployment {text[:80]}")


def _no_device(text: str) -> Declined:
    return Declined(404, "not-found", f"there is no device {text[:80]}")
