"""The dashboard at /admin/edge/ota put together: its pages, its style sheet, script and icon."""

from pathlib import Path

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.responses import FileResponse, Response, StreamingResponse

from towline.reconciler.server import streams
from towline.reconciler.server.census import Censuses
from towline.reconciler.server.dashboard import (
    PATH,
    acting,
    approvals,
    audit,
    deployments,
    enrolments,
    fleet,
    git,
    provider_door,
    reception,
    refusals,
    wizard,
)
from towline.reconciler.server.dashboard.paces import Paces
from towline.reconciler.server.dashboard.page import HEADERS
from towline.reconciler.server.dashboard.provider_door import Attempts
from towline.reconciler.server.dashboard.reception import AtPage, visitor_of
from towline.reconciler.server.dashboard.visits import Visits
from towline.reconciler.server.desk import Declined
from towline.reconciler.server.oidc import Provider
from towline.reconciler.server.package_look import PackageLook

_STATIC = Path(__file__).parent / "static"
_PAGES = (fleet, enrolments, approvals, git, audit, deployments, acting, wizard)
"""Whoever opens one of these is signed in, and sees what their organization has."""
_KINDS = {
    "style.css": "text/css; charset=utf-8",
    "live.js": "text/javascript; charset=utf-8",
    "wizard.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}


def install(app: FastAPI, provider: Provider | None, package_look: PackageLook) -> None:
    """Add the pages to the application for people; `provider`: who else may let people in."""
    app.state.visits = Visits()
    app.state.paces = Paces()
    app.state.censuses = Censuses()
    app.state.provider = provider
    app.state.attempts = Attempts()
    app.state.package_look = package_look
    own = APIRouter()
    own.add_api_route("/static/{name}", static)
    own.add_api_route("/stream", stream_page, response_class=StreamingResponse)
    rest = APIRouter()
    rest.add_api_route("/{rest:path}", nothing_here)
    pages = [each.router for each in _PAGES]
    for router in (own, reception.router, provider_door.router, *pages, rest):
        needs = [Depends(visitor_of)] if router in pages else []
        app.include_router(router, prefix=PATH, include_in_schema=False, dependencies=needs)
    refusals.install_pages(app)


def static(name: str) -> Response:
    """A file of the pages; asked for anew each time, so that it fits the page after an upgrade."""
    if name not in _KINDS:
        raise Declined(404, "not-found", "")
    headers = HEADERS | {"Cache-Control": "no-cache"}
    return FileResponse(_STATIC / name, media_type=_KINDS[name], headers=headers)


def stream_page(
    request: Request,
    visitor: AtPage,
    deployment: streams.Name = "",
    device: streams.Name = "",
    last_event: streams.LastEvent = "",
    last_event_id: streams.LastEventSeen = "",
) -> Response:
    """The API's stream for who is signed in: a page's script can send no token."""
    reception.refuse_other_sites(request)
    return streams.stream(request, visitor[0], deployment, device, last_event or last_event_id)


def nothing_here(request: Request) -> Response:
    """Every other address under the dashboard's."""
    raise Declined(404, "not-found", f"Nothing is at {request.url.path[:80]}.")
