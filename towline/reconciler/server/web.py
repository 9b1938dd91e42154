"""The page at /admin/edge/ota: Deployments with their progress, devices with their state.

Read-only, without JavaScript, under a strict content security policy. A person signs in with an
admin token, which then lies in a cookie that scripts and other sites cannot use.
"""

from pathlib import Path
from typing import Annotated
from urllib.parse import parse_qs

from fastapi import APIRouter, Cookie, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from jinja2 import Environment, FileSystemLoader, select_autoescape

from towline.reconciler import showing
from towline.reconciler.server.desk import AtDesk, recognise
from towline.reconciler.server.sight import sight
from towline.reconciler.store import reading_devices
from towline.reconciler.store.reading import Page
from towline.schemas.states import COLOURS, GLYPHS

PATH = "/admin/edge/ota"
COOKIE = "towline_token"
REFRESH_S = 5
_HERE = Path(__file__).parent / "templates"
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; form-action 'self';"
    " frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}

router = APIRouter(prefix=PATH)
_templates = Environment(
    loader=FileSystemLoader(_HERE), autoescape=select_autoescape(), trim_blocks=True
)
_templates.globals |= {"glyphs": dict(GLYPHS), "colours": dict(COLOURS), "path": PATH}


@router.get("", response_class=HTMLResponse)
def show(desk: AtDesk, towline_token: Annotated[str, Cookie()] = "") -> Response:
    """The page, or the form to sign in."""
    person = recognise(desk, towline_token)
    if person is None:
        return _page("sign_in.html", 401 if towline_token else 200, refused=bool(towline_token))
    with desk.store.read() as connection:
        deployments, deployment_count = showing.deployments(
            connection, person.organization, Page(1, 50), sight(desk)
        )
        devices, device_count = reading_devices.devices(
            connection, person.organization, Page(1, 500), seen_after=desk.seen_after()
        )
        repository = reading_devices.repository(connection, person.organization)
    return _page(
        "fleet.html",
        200,
        person=person,
        repository=repository,
        deployments=deployments,
        deployment_count=deployment_count,
        devices=devices,
        device_count=device_count,
        refresh=REFRESH_S,
    )


@router.post("/sign-in")
async def sign_in(request: Request) -> Response:
    """Keep the token in a cookie; the page says whether it is any good."""
    fields = parse_qs((await request.body()).decode("utf-8", "replace"))
    answer = RedirectResponse(PATH, 303, headers=_HEADERS)
    token = fields.get("token", [""])[0].strip()
    if token and token.isascii() and token.isprintable() and len(token) < 200:
        answer.set_cookie(COOKIE, token, path=PATH, secure=True, httponly=True, samesite="strict")
    return answer


@router.post("/sign-out")
def sign_out() -> Response:
    """Forget the token."""
    answer = RedirectResponse(PATH, 303, headers=_HEADERS)
    answer.delete_cookie(COOKIE, path=PATH, secure=True, httponly=True, samesite="strict")
    return answer


@router.get("/style.css")
def style() -> Response:
    """The page's own style sheet."""
    return Response((_HERE / "style.css").read_bytes(), media_type="text/css")


def _page(name: str, status: int, **values: object) -> Response:
    return HTMLResponse(_templates.get_template(name).render(values), status, _HEADERS)
