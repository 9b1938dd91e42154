"""The door beside the sign-in form: people come in by an OpenID Connect provider.

The browser that comes back must be the one that set out: a cookie of its own says so, which is
`SameSite=Lax`, because the way back begins at the provider's site.
"""

import hmac
import secrets
import threading
from collections import OrderedDict
from typing import Annotated, NamedTuple

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from towline.reconciler.server.dashboard.page import PATH, page, see_other
from towline.reconciler.server.dashboard.reception import begin_visit, inside, sign_in_page
from towline.reconciler.server.desk import AtDesks, Declined, remember, wall_clock
from towline.reconciler.server.oidc import Attempt, NotLetIn, Provider, ProviderAway

COOKIE = "__Secure-towline-provider"
DOOR = f"{PATH}/sign-in/provider"
ATTEMPT_LIFE_S = 600
VISIT_LIFE_S = 3600
"""So soon a group that was taken away ends a visit; the provider lets in again without a word."""
MOST = 10_000

router = APIRouter(prefix="/sign-in/provider")
Words = Annotated[str, Query(max_length=4000)]


class _Waiting(NamedTuple):
    attempt: Attempt
    browser: str
    until: int


class Attempts:
    """Attempts that the provider has not answered yet; safe to use from any thread."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[str, _Waiting] = OrderedDict()
        self._changing = threading.Lock()

    def begin(self, attempt: Attempt, browser: str, now: int) -> None:
        """Remember one; the oldest are forgotten where there are too many."""
        with self._changing:
            while self._waiting:
                oldest = next(iter(self._waiting.values()))
                if oldest.until > now and len(self._waiting) < MOST:
                    break
                self._waiting.popitem(last=False)
            self._waiting[attempt.state] = _Waiting(attempt, browser, now + ATTEMPT_LIFE_S)

    def take(self, state: str, browser: str, now: int) -> Attempt | None:
        """The attempt of that state, once, and only for the browser that began it."""
        with self._changing:
            found = self._waiting.pop(state, None)
        if found is None or found.until <= now:
            return None
        is_same = hmac.compare_digest(found.browser.encode(), browser.encode())
        return found.attempt if is_same else None


def _provider(request: Request) -> Provider:
    provider: Provider | None = request.app.state.provider
    if provider is None:
        raise Declined(404, "not-found", "This server knows no provider to sign in by.")
    return provider


@router.get("")
def set_out(request: Request, onward: Words = "") -> Response:
    """Send the browser to the provider."""
    provider = _provider(request)
    attempt, browser = Attempt(inside(onward)), secrets.token_urlsafe(24)
    try:
        answer = see_other(provider.address(attempt))
    except ProviderAway as away:
        return sign_in_page(request, onward, f"{provider.settings.host}: {away}.", 502)
    request.app.state.attempts.begin(attempt, browser, wall_clock())
    answer.set_cookie(
        COOKIE,
        browser,
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
    provider = _provider(request)
    browser = request.cookies.get(COOKIE, "")
    attempt = request.app.state.attempts.take(state, browser, wall_clock())
    if attempt is None:
        return sign_in_page(request, "", "This attempt to sign in was out of date; try again.", 403)
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
    answer.delete_cookie(COOKIE, path=DOOR, secure=True, httponly=True, samesite="lax")
    return answer
