"""The door beside the sign-in form: people come in by an OpenID Connect provider.

The browser that comes back must be the one that set out: it keeps the attempt in a cookie that only
this process can have sealed, so that nobody who sets out crowds out another. The cookie is
`SameSite=Lax`, because the way back begins at the provider's site.
"""

import hmac
import secrets
import time
from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from towline.reconciler.server.buckets import Buckets
from towline.reconciler.server.callers import remember
from towline.reconciler.server.dashboard import PATH
from towline.reconciler.server.dashboard.page import page, see_other
from towline.reconciler.server.dashboard.reception import begin_visit, inside, sign_in_page
from towline.reconciler.server.desk import Declined, Desks, wall_clock
from towline.reconciler.server.oidc import Attempt, NotLetIn, Provider, ProviderAway
from towline.reconciler.server.receiving import AtDesks

COOKIE = "__Secure-towline-provider"
DOOR = f"{PATH}/sign-in/provider"
ATTEMPT_LIFE_S = 600
VISIT_LIFE_S = 3600
"""So soon a group that was taken away ends a visit; the provider lets in again without a word."""
CALLS_AT_ONCE, CALLS_PER_S = 60, 1.0
"""Calls of the provider for each address: two for each person, who is nobody known yet."""
ONWARD_LIMIT = 2000
"""It is part of the cookie, and a browser keeps none above 4096 bytes."""

router = APIRouter(prefix="/sign-in/provider")
Words = Annotated[str, Query(max_length=4000)]
Onward = Annotated[str, Query(max_length=ONWARD_LIMIT)]


class Attempts:
    """Attempts that the provider has not answered yet; none is kept here."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)
        self._calls = Buckets(CALLS_AT_ONCE, CALLS_PER_S)

    def count(self, source: str) -> None:
        """The provider is called for somebody; raises Declined when that comes too often."""
        if wait_s := self._calls.take(source, time.monotonic()):
            words = f"too many sign in by the provider from {source}: come again in {wait_s} s"
            raise Declined(429, "too-many-calls", words, retry_after_s=wait_s)

    def seal(self, attempt: Attempt, now: int) -> str:
        """What its browser keeps of it."""
        import jwt  # noqa: PLC0415 an extra

        claims = asdict(attempt) | {"exp": now + ATTEMPT_LIFE_S}
        return jwt.encode(claims, self._key, algorithm="HS256")

    def open(self, sealed: str, state: str) -> Attempt | None:
        """The attempt of that state, if it was sealed here and is not out of date."""
        import jwt  # noqa: PLC0415 an extra

        try:
            claims = jwt.decode(sealed, self._key, ["HS256"], options={"require": ["exp"]})
        except jwt.PyJWTError:
            return None
        del claims["exp"]
        attempt = Attempt(**claims)
        return attempt if hmac.compare_digest(attempt.state.encode(), state.encode()) else None


def _provider(request: Request) -> Provider:
    """Who is called for the request, which is counted."""
    provider: Provider | None = request.app.state.provider
    if provider is None:
        raise Declined(404, "not-found", "This server knows no provider to sign in by.")
    request.app.state.attempts.count(request.client.host if request.client else "")
    return provider


@router.get("")
def set_out(request: Request, onward: Onward = "") -> Response:
    """Send the browser to the provider."""
    provider = _provider(request)
    attempt = Attempt(inside(onward))
    try:
        answer = see_other(provider.address(attempt))
    except ProviderAway as away:
        return sign_in_page(request, onward, f"{provider.settings.host}: {away}.", 502)
    answer.set_cookie(
        COOKIE,
        request.app.state.attempts.seal(attempt, wall_clock()),
        max_age=ATTEMPT_LIFE_S,
        path=DOOR,
        secure=True,
        httponly=True,
        samesite="lax",
    )
    return answer


@router.get("/back")
def come_back(
    request: Request, desks: AtDesks, code: Words = "", state: Words = "", error: Words = ""
) -> Response:
    """The provider's answer."""
    attempt = request.app.state.attempts.open(request.cookies.get(COOKIE, ""), state)
    if attempt is None:
        return sign_in_page(request, "", "This attempt to sign in was out of date; try again.", 403)
    answer = _receive(request, desks, attempt, code, error)
    answer.delete_cookie(COOKIE, path=DOOR, secure=True, httponly=True, samesite="lax")
    return answer


def _receive(request: Request, desks: Desks, attempt: Attempt, code: str, error: str) -> Response:
    """Let somebody in, or say why not."""
    provider = _provider(request)
    try:
        if error or not code:
            raise NotLetIn(f"the provider said {error[:80] or 'nothing'}")
        person = remember(request, provider.person(attempt, code))
    except NotLetIn as refused:
        return sign_in_page(request, attempt.onward, f"Not signed in: {refused}.", 403)
    except ProviderAway as away:
        words = f"{provider.settings.host}: {away}."
        return sign_in_page(request, attempt.onward, words, 502)
    # A redirect would be a part of the provider's: the browser would not show the visit's cookie.
    answer = page(request, "signed_in.html", {"onward": attempt.onward})
    with desks.of(person.organization).doing(person, "dashboard.sign-in"):
        begin_visit(request, answer, person, VISIT_LIFE_S, by_token=False)
    return answer
