"""Server-sent events over HTTP: for programs with a token, and for the dashboard's pages."""

from typing import Annotated

from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import StreamingResponse

from towline.reconciler.live_figures import Subject
from towline.reconciler.server.desk import AtDesk, Declined, Desk, Viewer
from towline.reconciler.server.live import Live, TooManyViewers
from towline.reconciler.store import reading, reading_devices
from towline.reconciler.store.people import Person

_HEADERS = {
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",
    "X-Content-Type-Options": "nosniff",
}

router = APIRouter(prefix="/api/v1/admin/ota")
Name = Annotated[str | None, Query(max_length=300)]
LastEvent = Annotated[str, Header(alias="Last-Event-ID", max_length=100)]
LastEventSeen = Annotated[str, Query(alias="last_event_id", max_length=100)]


@router.get("/events/stream", response_class=StreamingResponse)
def stream_events(
    request: Request,
    desk: AtDesk,
    person: Viewer,
    deployment: Name = None,
    device: Name = None,
    last_event: LastEvent = "",
    last_event_id: LastEventSeen = "",
) -> StreamingResponse:
    """Figures of a Deployment, a device or (with neither) the fleet, as they change.

    `figures` events carry counts and what happened; `end` comes when a run is over. A reader that
    comes again with Last-Event-ID (or `last_event_id`) is told what it missed.
    """
    return stream(request, desk, person, deployment, device, last_event or last_event_id)


def stream(
    request: Request,
    desk: Desk,
    person: Person,
    deployment: str | None,
    device: str | None,
    last_event: str,
) -> StreamingResponse:
    """The stream that is asked for; raises Declined."""
    subject = _subject(desk, person, deployment, device)
    live: Live = request.app.state.live
    try:
        live.check_room()
    except TooManyViewers:
        raise Declined(503, "too-many-viewers", "too many live views are open; try later") from None
    number = int(last_event) if last_event.isascii() and last_event.isdigit() else None
    number = number if number is None or number < 2**53 else None
    return StreamingResponse(
        live.stream(subject, number), media_type="text/event-stream", headers=_HEADERS
    )


def _subject(desk: Desk, person: Person, deployment: str | None, device: str | None) -> Subject:
    """What is looked at; others' are as unknown as what is not there."""
    if deployment and device:
        raise Declined(422, "bad-field", "give deployment or device, not both")
    organization = person.organization
    with desk.store.read() as connection:
        if deployment:
            if reading.find_run(connection, organization, deployment) is None:
                raise Declined(404, "not-found", f"there is no deployment {deployment[:80]}")
            return Subject(organization, deployment=deployment)
        if device:
            slug = reading_devices.find_slug(connection, organization, device)
            if slug is None:
                raise Declined(404, "not-found", f"there is no device {device[:80]}")
            return Subject(organization, device=slug)
    return Subject(organization)
