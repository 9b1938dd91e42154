"""Who is at the door of the dashboard: signing in and out, and what every form must carry.

A form is taken only from the visit's own pages: it carries the visit's secret, the cookie is
`SameSite=Strict`, and a browser that says the request comes from elsewhere is refused.
"""

import hmac
import secrets
from collections.abc import Callable
from typing import Annotated
from urllib.parse import parse_qs, quote

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response

from towline.reconciler.server.callers import desks_of, refuse_too_many_failures, remember
from towline.reconciler.server.dashboard import PATH
from towline.reconciler.server.dashboard.page import page, see_other
from towline.reconciler.server.dashboard.visits import LIFE_S, Visit, Visits
from towline.reconciler.server.desk import Declined, wall_clock
from towline.reconciler.server.receiving import AtDesks
from towline.reconciler.store.people import Person, Role

VISIT_COOKIE = "__Secure-towline-visit"
FORM_COOKIE = "__Secure-towline-form"
"""The sign-in form's secret: there is no visit yet that could hold it."""
FIELDS_LIMIT = 20

router = APIRouter()
Visitor = tuple[Person, Visit]


class NotSignedIn(Exception):
    """The page is for people who are signed in."""


async def read_form(request: Request) -> dict[str, str]:
    """The fields of a form; raises Declined for what no form of ours sends."""
    try:
        text = (await request.body()).decode()
        fields = parse_qs(text, keep_blank_values=True, max_num_fields=FIELDS_LIMIT)
    except ValueError:
        raise Declined(422, "bad-field", "this is no form of these pages") from None
    return {name: values[-1] for name, values in fields.items()}


Form = Annotated[dict[str, str], Depends(read_form)]


def _visits(request: Request) -> Visits:
    visits: Visits = request.app.state.visits
    return visits


def visitor_of(request: Request) -> Visitor:
    """Who is signed in; raises NotSignedIn."""
    now = wall_clock()
    visit = _visits(request).find(request.cookies.get(VISIT_COOKIE, ""), now)
    if visit is None:
        raise NotSignedIn
    person = visit.person or desks_of(request).recognise_again(visit.token_id)
    if person is None:
        raise NotSignedIn
    return remember(request, person), visit


def _acting(role: Role) -> Callable[[Request, dict[str, str]], Visitor]:
    def acting(request: Request, form: Form) -> Visitor:
        refuse_other_sites(request)
        person, visit = visitor_of(request)
        if not visit.is_own_form(form.get("csrf", "")):
            raise Declined(403, "csrf", "this form is not of your visit; open the page again")
        if not person.role.may_act_as(role):
            raise Declined(403, "role", f"this needs the role {role}; you have {person.role}")
        return person, visit

    return acting


def refuse_other_sites(request: Request) -> None:
    """Raises Declined for what a browser sends from the pages of others."""
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise Declined(403, "csrf", "this comes from another site")


AtPage = Annotated[Visitor, Depends(visitor_of)]
Leaving = Annotated[Visitor, Depends(_acting(Role.VIEWER))]
Acting = Annotated[Visitor, Depends(_acting(Role.OPERATOR))]
Administering = Annotated[Visitor, Depends(_acting(Role.ADMIN))]


def sign_in_page(request: Request, onward: str, refused: str = "", status: int = 200) -> Response:
    """The form to sign in, with a secret of its own."""
    secret = request.cookies.get(FORM_COOKIE) or secrets.token_urlsafe(24)
    provider = request.app.state.provider
    values = {"onward": onward, "refused": refused, "form_secret": secret}
    values["provider"] = provider.settings.host if provider else ""
    answer = page(request, "sign_in.html", values, status=status)
    _set_cookie(answer, FORM_COOKIE, secret, 3600)
    return answer


def ask_to_sign_in(request: Request) -> Response:
    """Where somebody goes who is not signed in."""
    if request.method != "GET":
        return sign_in_page(request, "", "You are signed out; nothing was done.", 401)
    onward = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    return see_other(f"{PATH}/sign-in?onward={quote(onward, safe='')}")


@router.get("/sign-in")
def show_sign_in(request: Request, onward: Annotated[str, Query(max_length=2000)] = "") -> Response:
    """The form."""
    return sign_in_page(request, onward)


@router.post("/sign-in")
def sign_in(request: Request, desks: AtDesks, form: Form) -> Response:
    """Begin a visit with an admin token."""
    refuse_other_sites(request)
    onward = form.get("onward", "")
    secret = request.cookies.get(FORM_COOKIE, "")
    if not secret or not hmac.compare_digest(secret.encode(), form.get("csrf", "").encode()):
        return sign_in_page(request, onward, "This form was out of date; try again.", 403)
    person = desks.recognise(form.get("token", "").strip()[:200])
    if person is None:
        refuse_too_many_failures(request)
        return sign_in_page(request, onward, "This token is unknown, expired or revoked.", 401)
    if person.labels:
        words = "This token is limited to some devices: it is for the API and the command line."
        return sign_in_page(request, onward, words, 403)
    answer = see_other(inside(onward))
    person = remember(request, person)
    with desks.of(person.organization).doing(person, "dashboard.sign-in"):
        begin_visit(request, answer, person, LIFE_S, by_token=True)
    return answer


def begin_visit(
    request: Request, answer: Response, person: Person, life_s: int, *, by_token: bool
) -> None:
    """Somebody is in: the answer brings the visit's cookie."""
    cookie = _visits(request).begin(person, wall_clock(), life_s, by_token=by_token)
    _set_cookie(answer, VISIT_COOKIE, cookie, life_s)
    answer.delete_cookie(FORM_COOKIE, path=PATH, secure=True, httponly=True, samesite="strict")


@router.post("/sign-out")
def sign_out(request: Request, desks: AtDesks, visitor: Leaving) -> Response:
    """End the visit."""
    with desks.of(visitor[0].organization).doing(visitor[0], "dashboard.sign-out"):
        _visits(request).end(request.cookies.get(VISIT_COOKIE, ""))
    answer = see_other(f"{PATH}/sign-in")
    answer.delete_cookie(VISIT_COOKIE, path=PATH, secure=True, httponly=True, samesite="strict")
    return answer


def _set_cookie(answer: Response, name: str, value: str, life_s: int) -> None:
    answer.set_cookie(
        name, value, max_age=life_s, path=PATH, secure=True, httponly=True, samesite="strict"
    )


def inside(onward: str) -> str:
    """Where a person goes on after signing in: a page of ours, never another site."""
    is_ours = onward.startswith((f"{PATH}/", f"{PATH}?"))
    return onward if is_ours and onward.isascii() and onward.isprintable() else PATH
