"""The API for people under /api/v1/admin/ota: the contract's calls on Deployments, and ours.

Every call sees one organization, that of the token; what belongs to another one is 404.
"""

from enum import StrEnum
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Connection, Row

from towline.reconciler import acts, groups, showing, standing, unmerged
from towline.reconciler.explain_deployment import explain_deployment
from towline.reconciler.explain_unmerged import explain_unmerged
from towline.reconciler.server import admin_acts, admin_unmerged
from towline.reconciler.server.desk import Declined, wall_clock
from towline.reconciler.server.etags import etag_of
from towline.reconciler.server.large_answers import large_answer
from towline.reconciler.server.receiving import Administrator, AtDesk, Viewer
from towline.reconciler.server.sight import sight
from towline.reconciler.store import reading, reading_devices, reading_events
from towline.reconciler.store.reading import Page
from towline.reconciler.store.reading_events import EventFilter
from towline.reconciler.store.reading_targets import FAILING, TargetFilter, targets_part
from towline.schemas.fields import MOST
from towline.schemas.states import RunState, TargetState

router = APIRouter(prefix="/api/v1/admin/ota")
router.include_router(admin_acts.router)

MOST_TARGETS = 1000
PartSize = Annotated[int, Query(ge=1, le=MOST_TARGETS)]
PageNumber = Annotated[int, Query(ge=1, le=1_000_000)]
PageSize = Annotated[int, Query(ge=1, le=100)]


class DevicesShown(StrEnum):
    """Which of a run's devices its detail lists."""

    ALL = "all"
    FAILING = "failing"
    """Failed or rolled back."""
    NONE = "none"


class AcceptRequest(BaseModel):
    """Which held commit may be applied, and why."""

    model_config = ConfigDict(extra="forbid")
    commit: str = Field(pattern=r"^[0-9a-f]{7,64}$")
    reason: str = Field(min_length=1, max_length=1000)


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
    desk: AtDesk,
    person: Viewer,
    deployment: str,
    devices: DevicesShown = DevicesShown.ALL,
    limit: PartSize = 500,
) -> Response:
    """The contract's detail; a Deployment's name stands for its newest run.

    Of its devices at most `limit` are in it; `next_cursor` is where the list of them goes on.
    """
    with desk.store.read() as connection:
        run = reading.find_run(connection, person.organization, deployment)
        if run is None:
            row = admin_unmerged.find(connection, person, deployment)
            shown = unmerged.detail(connection, row, wall_clock())
            etag = etag_of(standing.of_waiting(connection, row))
            return large_answer(shown | {"next_cursor": None}, etag)
        shown = showing.deployment(connection, run, sight(desk))
        items, onward = _devices_of(connection, run, devices, limit)
        etag = etag_of(standing.of_run(connection, run))
    return large_answer(shown | {"devices": items, "next_cursor": onward}, etag)


def _devices_of(
    connection: Connection, run: Row[Any], shown: DevicesShown, limit: int
) -> tuple[list[dict[str, Any]], int | None]:
    if shown is DevicesShown.NONE:
        return [], None
    states = FAILING if shown is DevicesShown.FAILING else ()
    return targets_part(connection, run.seq, TargetFilter(states), limit)


@router.get("/deployments/{deployment}/devices")
def list_targets(
    desk: AtDesk,
    person: Viewer,
    deployment: str,
    status: Annotated[list[TargetState], Query(max_length=8)] = [],  # noqa: B006 FastAPI copies it
    begins_with: Annotated[str, Query(max_length=63)] = "",
    cursor: Annotated[int, Query(ge=0, le=MOST)] = 0,
    limit: PartSize = 100,
) -> Response:
    """The devices of a run in the order of enrolment; `next_cursor` is where the next part begins.

    `status` may come more than once; `begins_with` is how a device's id begins.
    """
    wanted = TargetFilter(tuple(status), begins_with, cursor)
    with desk.store.read() as connection:
        run = reading.find_run(connection, person.organization, deployment)
        if run is None:
            admin_unmerged.find(connection, person, deployment)
            return large_answer({"devices": [], "next_cursor": None})
        items, onward = targets_part(connection, run.seq, wanted, limit)
    return large_answer({"devices": items, "next_cursor": onward})


@router.get("/deployments/{deployment}/batches")
def get_batches(desk: AtDesk, person: Viewer, deployment: str) -> dict[str, Any]:
    """The batches that were opened so far, and those that are still to come."""
    with desk.store.read() as connection:
        run = reading.find_run(connection, person.organization, deployment)
        if run is None:
            row = admin_unmerged.find(connection, person, deployment)
            return {"batches": unmerged.detail(connection, row, wall_clock())["batches"]}
        shown = showing.deployment(connection, run, sight(desk))
    return {"batches": shown["batches"]}


@router.get("/groups")
def list_groups(desk: AtDesk, person: Viewer) -> dict[str, Any]:
    """The DeviceGroups in force, with how many devices each has."""
    head = desk.head()
    if head is None or head.organization != person.organization:
        return {"groups": []}
    with desk.store.read() as connection:
        return {"groups": groups.groups(connection, head)}


@router.get("/deployments/{deployment}/explain")
def tell_deployment(desk: AtDesk, person: Viewer, deployment: str) -> dict[str, Any]:
    """A Deployment's newest run in words: what is decided now, what holds it, the way out."""
    with desk.store.read() as connection:
        run = reading.find_run(connection, person.organization, deployment)
        if run is None:
            row = admin_unmerged.find(connection, person, deployment)
            return explain_unmerged(connection, row, wall_clock())
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
    cursor: Annotated[int | None, Query(ge=0, le=MOST)] = None,
) -> dict[str, Any]:
    """Events in order, equal repeats as one; without `after` the newest ones.

    `next_cursor` is the `cursor` of the ones before them, until it is null; with `after` there is
    none: the last one's `id` is the next `after`. `since` is in seconds since the epoch.
    `important`: of Deployments and failing devices only; `machine`: those for replay, too.
    """
    wanted = EventFilter(deployment, device, after, since, important, machine, before=cursor)
    with desk.store.read() as connection:
        items = reading_events.events(connection, person.organization, wanted, limit)
    older = items[0]["firstId"] if len(items) == limit and not after else None
    return {"events": items, "next_cursor": older}


@router.get("/repository")
def get_repository(desk: AtDesk, person: Viewer) -> dict[str, Any]:
    """The commit in force, what holds the next one, and the manifests that are broken."""
    with desk.store.read() as connection:
        found = reading_devices.repository(connection, person.organization)
    if found is None:
        raise Declined(404, "not-found", "no repository is followed yet")
    return found | {"warnings": desk.warnings()}


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
    return {"status": "accepted", "commit": body.commit}
