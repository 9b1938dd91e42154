"""Live views over HTTP: server-sent events for programs and pages, and for programs a WebSocket."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Annotated

from fastapi import APIRouter, Header, Query, WebSocket, WebSocketDisconnect
from fastapi.responses import StreamingResponse
from starlette.requests import HTTPConnection

from towline.reconciler.live_figures import Subject
from towline.reconciler.server.callers import desk_of
from towline.reconciler.server.desk import Declined, Desk
from towline.reconciler.server.live import Live, TooManyViewers
from towline.reconciler.server.live_messages import Message
from towline.reconciler.server.receiving import Viewer
from towline.reconciler.store import reading, reading_devices
from towline.reconciler.store.people import Person

_HEADERS = {
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",
    "X-Content-Type-Options": "nosniff",
}
_RETRY = b"retry: 2000\n\n"
"""A browser comes again after two seconds."""
_IS_OVER, _GONE, _COME_AGAIN = 1000, 1006, 1012
"""The codes that a WebSocket is closed with."""

router = APIRouter(prefix="/api/v1/admin/ota")
Name = Annotated[str, Query(description="a name or a UUID")]
LastEvent = Annotated[str, Header(alias="Last-Event-ID")]
LastEventSeen = Annotated[str, Query(alias="last_event_id")]


@router.get("/events/stream", response_class=StreamingResponse)
def stream_events(
    connection: HTTPConnection,
    person: Viewer,
    deployment: Name = "",
    device: Name = "",
    last_event: LastEvent = "",
    last_event_id: LastEventSeen = "",
) -> StreamingResponse:
    """Figures of a Deployment, a device or (with neither) the fleet, as they change.

    `figures` events carry counts and what happened; `end` comes when a run is over. A reader that
    comes again with Last-Event-ID (or `last_event_id`) is told what it missed.
    """
    return stream(connection, person, deployment, device, last_event or last_event_id)


@router.websocket("/events/socket")
async def socket_events(
    socket: WebSocket,
    person: Viewer,
    deployment: Name = "",
    device: Name = "",
    last_event_id: LastEventSeen = "",
) -> None:
    """The messages of the stream as `{"id", "event", "data"}`; nothing is read of the reader."""
    messages = await asyncio.to_thread(_messages, socket, person, deployment, device, last_event_id)
    await socket.accept()
    try:
        async with asyncio.TaskGroup() as both:
            leaving = both.create_task(_leave(socket))
            await _tell(socket, messages)
            leaving.cancel()
    except* WebSocketDisconnect:
        pass


def stream(
    connection: HTTPConnection, person: Person, deployment: str, device: str, last_event: str
) -> StreamingResponse:
    """The stream that is asked for; raises Declined."""
    messages = _messages(connection, person, deployment, device, last_event)
    return StreamingResponse(_events(messages), media_type="text/event-stream", headers=_HEADERS)


def _messages(
    connection: HTTPConnection, person: Person, deployment: str, device: str, last_event: str
) -> AsyncGenerator[Message, None]:
    """What is to be told of what is asked for; raises Declined."""
    subject = _subject(desk_of(connection), person, deployment, device)
    live: Live = connection.app.state.live
    try:
        live.check_room()
    except TooManyViewers:
        raise Declined(503, "too-many-viewers", "too many live views are open; try later") from None
    return live.messages(subject, _number(last_event))


async def _events(messages: AsyncGenerator[Message, None]) -> AsyncIterator[bytes]:
    yield _RETRY
    async with aclosing(messages):
        async for message in messages:
            yield message.event


async def _tell(socket: WebSocket, messages: AsyncGenerator[Message, None]) -> None:
    code = _COME_AGAIN
    async with aclosing(messages):
        async for message in messages:
            await socket.send_text(message.text)
            if message.kind == "end":
                code = _IS_OVER
    await socket.close(code)


async def _leave(socket: WebSocket) -> None:
    """Raises WebSocketDisconnect when the reader goes; what it says is not listened to."""
    while (said := await socket.receive())["type"] != "websocket.disconnect":
        pass
    raise WebSocketDisconnect(said.get("code", _GONE))


def _number(text: str) -> int | None:
    """An event's number; None for what is none."""
    is_number = text.isascii() and text.isdigit() and len(text) < 16
    return int(text) if is_number else None


def _subject(desk: Desk, person: Person, deployment: str, device: str) -> Subject:
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
