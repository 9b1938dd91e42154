"""The pages of the fleet: all devices at a glance and by search, one device, and events."""

from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from towline.reconciler.explain_device import explain_device
from towline.reconciler.live_figures import device_figures
from towline.reconciler.server.census import Census
from towline.reconciler.server.dashboard.device_search import DeviceSearch
from towline.reconciler.server.dashboard.page import page
from towline.reconciler.server.dashboard.reception import AtPage
from towline.reconciler.server.desk import Declined, wall_clock
from towline.reconciler.server.receiving import AtDesk
from towline.reconciler.server.sight import sight
from towline.reconciler.store import (
    admissions,
    device_parts,
    reading_devices,
    reading_events,
    reading_history,
)
from towline.reconciler.store.device_lists import BadCursor, DeviceOrder
from towline.reconciler.store.reading_batches import when
from towline.reconciler.store.reading_events import EventFilter
from towline.schemas.fields import MOST
from towline.schemas.states import TargetState

DEVICES_SHOWN = 50
EVENTS_SHOWN = 100
DEVICE_EVENTS_SHOWN = 30
HISTORY_SHOWN = 20
JOURNAL_SHOWN = 40
ORDERS = {
    DeviceOrder.BY_ID: "id",
    DeviceOrder.BY_ID_BACKWARDS: "id, backwards",
    DeviceOrder.SEEN_LATELY_FIRST: "seen lately first",
    DeviceOrder.SEEN_LONG_AGO_FIRST: "silent for long first",
}

router = APIRouter()
Text = Annotated[str, Query(max_length=300)]


@router.get("/fleet")
def show_fleet(
    request: Request, desk: AtDesk, visitor: AtPage, search: Annotated[DeviceSearch, Query()]
) -> Response:
    """Figures, versions, and the devices that fit what the address asks for."""
    organization, seen_after = visitor[0].organization, desk.seen_after()
    with desk.store.read() as connection:
        try:
            part = device_parts.devices_part(
                connection, organization, search.wanted(), DEVICES_SHOWN, seen_after, search.sort
            )
        except BadCursor:
            raise Declined(422, "bad-field", "The address names no part of this list.") from None
        census: Census = request.app.state.censuses.of(connection, desk)
        values: dict[str, Any] = {
            "counts": census.counts,
            "versions": census.versions,
            "counted_at": when(census.at),
            "waiting": admissions.count(connection, organization, wall_clock()),
            "devices": part.devices,
            "total": part.total,
            "has_more": part.has_more,
        }
    query = search.query
    values |= {
        "search": search,
        "states": [state.value for state in TargetState],
        "orders": ORDERS,
        "first_part": f"?{urlencode(query)}" if search.after else "",
        "next_part": f"?{urlencode(query | {'after': part.onward})}" if part.onward else "",
    }
    return page(request, "fleet.html", values, visitor=visitor)


@router.get("/devices/{device}")
def show_device(request: Request, desk: AtDesk, visitor: AtPage, device: str) -> Response:
    """One device's story, what it runs and is to run, its facts, labels and events."""
    organization = visitor[0].organization
    with desk.store.read() as connection:
        found = reading_devices.device(
            connection, organization, device, seen_after=desk.seen_after()
        )
        if found is None:
            raise Declined(404, "not-found", f"There is no device {device[:80]}.")
        story = explain_device(connection, organization, found["id"], sight(desk))
        wanted = EventFilter(device=found["id"])
        history = reading_history.of_device(connection, found["seq"], HISTORY_SHOWN)
        journal = reading_history.journal(connection, organization, found["id"], JOURNAL_SHOWN)
        events = reading_events.events(connection, organization, wanted, DEVICE_EVENTS_SHOWN)
    assert story is not None
    values = {
        "device": found,
        "shape": device_figures(found)["shape"],
        "story": story,
        "sentences": story["text"].split("\nLately:\n")[0].split("\n"),
        "history": history,
        "journal": journal,
        "events": events[::-1],
    }
    return page(request, "device.html", values, visitor=visitor)


@router.get("/events")
def show_events(
    request: Request,
    desk: AtDesk,
    visitor: AtPage,
    deployment: Text = "",
    device: Text = "",
    everything: Annotated[str, Query(alias="all", max_length=3)] = "",
    before: Annotated[int | None, Query(ge=1, le=MOST)] = None,
) -> Response:
    """What happened, newest first."""
    is_all = everything == "yes" or bool(device)
    wanted = EventFilter(
        deployment.strip() or None,
        device.strip() or None,
        is_important=not is_all,
        before=before,
    )
    with desk.store.read() as connection:
        events = reading_events.events(
            connection, visitor[0].organization, wanted, EVENTS_SHOWN + 1
        )[::-1]
    shown = events[:EVENTS_SHOWN]
    query = {"deployment": deployment, "device": device, "all": everything}
    values = query | {
        "events": shown,
        "is_all": is_all,
        "before": before,
        "next_part": f"?{urlencode(query | {'before': shown[-1]['firstId']})}"
        if len(events) > EVENTS_SHOWN
        else "",
    }
    return page(request, "events.html", values, visitor=visitor)
