"""Visits: who is signed in on the dashboard, kept in memory.

A visit begins with an admin token and holds the token's id, never the token; whoever is signed in
is looked up by it again for each request, so that a revoked token ends its visits at once. Of the
cookie's value only the SHA-256 is kept. A restart of the server ends all visits.
"""

import hmac
import secrets
import threading
from collections import OrderedDict
from dataclasses import dataclass, field

from towline.schemas.enrolment import secret_digest

LIFE_S = 12 * 3600
MOST = 10_000
"""So many visits are kept at most; the oldest one ends for a newer one."""


@dataclass(slots=True)
class Visit:
    """One person's stay with one browser."""

    token_id: str
    expires_at: int
    """Seconds since the epoch."""
    csrf: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    """What every form of this visit must carry."""
    notice: str = ""
    """What the next page says of what was done."""

    def is_own_form(self, csrf: str) -> bool:
        """True when a form comes from a page of this visit."""
        return hmac.compare_digest(self.csrf.encode(), csrf.encode())

    def take_notice(self) -> str:
        """The notice, said once."""
        said, self.notice = self.notice, ""
        return said


class Visits:
    """All visits of this process; safe to use from any thread."""

    def __init__(self) -> None:
        self._visits: OrderedDict[str, Visit] = OrderedDict()
        self._changing = threading.Lock()

    def begin(self, token_id: str, now: int) -> str:
        """A new visit; returns the cookie's value."""
        cookie = secrets.token_urlsafe(32)
        with self._changing:
            self._drop_old(now)
            self._visits[secret_digest(cookie)] = Visit(token_id, now + LIFE_S)
        return cookie

    def find(self, cookie: str, now: int) -> Visit | None:
        """The visit of a cookie; None when there is none or it is over."""
        visit = self._visits.get(secret_digest(cookie)) if cookie else None
        return visit if visit and visit.expires_at > now else None

    def end(self, cookie: str) -> None:
        """Forget a visit."""
        with self._changing:
            self._visits.pop(secret_digest(cookie), None)

    def _drop_old(self, now: int) -> None:
        """All have the same length, so the oldest ones end first."""
        while self._visits:
            oldest = next(iter(self._visits.values()))
            if oldest.expires_at > now and len(self._visits) < MOST:
                return
            self._visits.popitem(last=False)
