"""Visits: who is signed in on the dashboard, kept in memory.

A visit begins with an admin token and holds the token's id, never the token; whoever is signed in
is looked up by it again for each request, so that a revoked token ends its visits at once. One that
a provider of OpenID Connect let in is known by what it said, and stays for a shorter time. Of the
cookie's value only the SHA-256 is kept. A restart of the server ends all visits.
"""

import hmac
import secrets
import threading
from collections import OrderedDict
from dataclasses import dataclass, field

from towline.reconciler.store.people import Person
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
    person: Person | None = None
    """Who was let in by a provider; None: by a token."""
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

    def begin(self, person: Person, now: int, life_s: int, *, by_token: bool) -> str:
        """A new visit; returns the cookie's value."""
        visit = Visit(person.token_id, now + life_s, None if by_token else person)
        cookie = secrets.token_urlsafe(32)
        with self._changing:
            self._drop_old(now)
            self._visits[secret_digest(cookie)] = visit
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
        """The oldest ones first: one that ends before an older one waits for it."""
        while self._visits:
            oldest = next(iter(self._visits.values()))
            if oldest.expires_at > now and len(self._visits) < MOST:
                return
            self._visits.popitem(last=False)
