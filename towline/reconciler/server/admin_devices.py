"""The API for devices: lists by what is asked of them, one device, its story and its labels."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Connection

from towline.reconciler import standing
from towline.reconciler.explain_device import explain_device
from towline.reconciler.server.desk import Declined, wall_clock
from towline.reconciler.server.etags import IfMatch, demand_given, etag_of
from towline.reconciler.server.given_labels import GivenLabels
from towline.reconciler.server.large_answers import large_answer
from towline.reconciler.server.receiving import AtDesk, DeviceViewer, Operator, Viewer
from towline.reconciler.server.sight import sight
from towline.reconciler.store import device_parts, labels, reading_devices
from towline.reconciler.store.device_lists import BadCursor, DeviceOrder, FleetFilter, Presence
from towline.reconciler.store.events import Event, record
from towline.reconciler.store.labels import LabelSources
from towline.schemas.states import TargetState

router = APIRouter(prefix="/api/v1/admin/ota/devices")

Text = Annotated[str | None, Query(min_length=1, max_length=255)]


class LabelsRequest(BaseModel):
    """All labels that people give the device, in the place of those they gave before."""

    model_config = ConfigDict(extra="forbid")
    labels: GivenLabels
    reason: str = Field(default="", max_length=1000)


@router.get("")
def list_devices(
    desk: AtDesk,
    person: DeviceViewer,
    contains: Text = None,
    label: Annotated[list[str], Query(max_length=16)] = [],  # noqa: B006 FastAPI copies it
    device_type: Annotated[str | None, Query(alias="type", max_length=63)] = None,
    state: Literal["active", "revoked", "duplicate"] | None = None,
    presence: Presence | None = None,
    version: Text = None,
    component: Text = None,
    status: TargetState | None = None,
    failing: bool = False,
    drift: bool = False,
    sort: DeviceOrder = DeviceOrder.BY_ID,
    cursor: Text = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> Response:
    """Devices that fit all that is asked; `next_cursor` is the `cursor` of the next part.

    `contains` is a part of the id; `label` is `KEY=VALUE` or `KEY`, and may come more than once;
    `status`, `failing` and `drift` are of the newest run of each Deployment.
    """
    wanted = FleetFilter(
        contains=contains or "",
        labels=dict(_label(each) for each in label),
        within=person.labels,
        presence=presence,
        after=cursor or "",
        device_type=device_type,
        state=state,
        version=version,
        component=component,
        status=status,
        is_failing=failing,
        has_drifted=drift,
    )
    with desk.store.read() as connection:
        try:
            part = device_parts.devices_part(
                connection, person.organization, wanted, limit, desk.seen_after(), sort
            )
        except BadCursor:
            raise Declined(422, "bad-field", "cursor: it is of another list") from None
    return large_answer(
        {
            "devices": part.devices,
            "total": part.total,
            "has_more_than_total": part.has_more,
            "next_cursor": part.onward,
        }
    )


def _label(text: str) -> tuple[str, str | None]:
    key, equals, value = text.partition("=")
    if not key or len(text) > 127 or '"' in key:
        raise Declined(422, "bad-field", "label: KEY=VALUE, or KEY for any value")
    return key, value if equals else None


@router.get("/{device}")
def get_device(
    desk: AtDesk, person: DeviceViewer, device: str, response: Response
) -> dict[str, Any]:
    """One device; its ETag changes with what it runs and is to run, and with its labels."""
    with desk.store.read() as connection:
        found = reading_devices.device(
            connection,
            person.organization,
            device,
            seen_after=desk.seen_after(),
            within=person.labels,
        )
    if found is None:
        raise _no_device(device)
    response.headers["ETag"] = etag_of(standing.of_device(found))
    return found


@router.get("/{device}/explain")
def tell_device(desk: AtDesk, person: DeviceViewer, device: str) -> dict[str, Any]:
    """One device's story in words: what blocks, and the way out."""
    with desk.store.read() as connection:
        slug = reading_devices.find_slug(connection, person.organization, device, person.labels)
        if slug is None:
            raise _no_device(device)
        story = explain_device(connection, person.organization, slug, sight(desk))
    if story is None:
        raise _no_device(device)
    return story


@router.get("/{device}/labels")
def get_labels(desk: AtDesk, person: Viewer, device: str, response: Response) -> dict[str, Any]:
    """The labels in force, and who gave which: git goes over people, people over the join token."""
    with desk.store.read() as connection:
        found = _labels(connection, person.organization, device)[1]
    response.headers["ETag"] = etag_of(_shown(found))
    return _shown(found)


@router.put("/{device}/labels")
def put_labels(
    desk: AtDesk,
    person: Operator,
    device: str,
    body: LabelsRequest,
    response: Response,
    if_match: IfMatch = None,
) -> dict[str, Any]:
    """Replace the labels that people gave. One that git gives otherwise is 409: change it there."""
    now = wall_clock()
    with desk.store.read() as connection:
        slug, _ = _labels(connection, person.organization, device)
    act = desk.doing(person, "device.label", device=slug, labels=body.labels, reason=body.reason)
    with act as store, store.write() as connection:
        slug, before = _labels(connection, person.organization, slug)
        demand_given(if_match, etag_of(_shown(before)))
        _refuse_those_of_git(before, body.labels)
        labels.set_from_people(connection, person.organization, before, body.labels)
        event = Event(
            "labels.changed",
            device=slug,
            message=body.reason,
            cause=f"label by {person.name}",
            data={"labels": body.labels},
        )
        record(connection, person.organization, now, event)
        after = _labels(connection, person.organization, slug)[1]
    response.headers["ETag"] = etag_of(_shown(after))
    return _shown(after)


def _labels(connection: Connection, organization: str, device: str) -> tuple[str, LabelSources]:
    slug = reading_devices.find_slug(connection, organization, device)
    found = labels.sources_of(connection, organization, slug) if slug else None
    if slug is None or found is None:
        raise _no_device(device)
    return slug, found


def _shown(found: LabelSources) -> dict[str, Any]:
    return {
        "labels": found.in_force,
        "git": dict(found.git),
        "people": dict(found.people),
        "join": dict(found.join),
    }


def _refuse_those_of_git(before: LabelSources, wanted: dict[str, str]) -> None:
    for key, value in wanted.items():
        if before.git.get(key, value) != value:
            raise Declined(
                409,
                "not-allowed",
                f"{key} is {before.git[key]} by the device's manifest, which goes over people:"
                " change it in git",
            )


def _no_device(text: str) -> Declined:
    return Declined(404, "not-found", f"there is no device {text[:80]}")
