"""What is counted over all devices of an organization: who is there, and which versions run.

Of a small fleet it is counted for each look. Of a large one a look gets the last count, and at most
now and then has a new one made behind it; live views tell the figures that move meanwhile.
"""

import threading
import time
from dataclasses import dataclass
from typing import Any

import structlog
from sqlalchemy import Connection

from towline.reconciler.server.desk import Desk, wall_clock
from towline.reconciler.store import reading_fleet
from towline.reconciler.store.device_parts import is_large

REST_FACTOR = 20
"""After a count none is made for so many times as long as it took."""
LEAST_REST_S = 5.0

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Census:
    """One count."""

    counts: dict[str, int]
    versions: list[dict[str, Any]]
    at: int | None = None
    """When it was made, where it may be an old one."""


@dataclass(slots=True)
class _Kept:
    census: Census
    is_good_until: float
    is_being_made: bool = False


class Censuses:
    """The last count of each organization; safe to use from any thread."""

    def __init__(self) -> None:
        self._kept: dict[str, _Kept] = {}
        self._changing = threading.Lock()

    def of(self, connection: Connection, desk: Desk) -> Census:
        """The organization's count; the first one of a large fleet is waited for."""
        if not is_large(connection):
            return _count(connection, desk, None)
        kept = self._kept.get(desk.organization)
        if kept is None:
            return self._make(connection, desk)
        with self._changing:
            is_due = time.monotonic() > kept.is_good_until and not kept.is_being_made
            kept.is_being_made |= is_due
        if is_due:
            threading.Thread(target=self._renew, args=(desk, kept), daemon=True).start()
        return kept.census

    def _make(self, connection: Connection, desk: Desk) -> Census:
        began = time.monotonic()
        census = _count(connection, desk, wall_clock())
        now = time.monotonic()
        rest_s = max(LEAST_REST_S, REST_FACTOR * (now - began))
        self._kept[desk.organization] = _Kept(census, now + rest_s)
        return census

    def _renew(self, desk: Desk, former: _Kept) -> None:
        try:
            with desk.store.read() as connection:
                self._make(connection, desk)
        except Exception as error:  # noqa: BLE001 the former count stays, and the next look tries
            log.error("census.failed", error=repr(error))
            former.is_being_made = False


def _count(connection: Connection, desk: Desk, at: int | None) -> Census:
    name = desk.organization
    return Census(
        reading_fleet.presence_counts(connection, name, desk.seen_after())
        | reading_fleet.trouble_counts(connection, name),
        reading_fleet.versions(connection, name),
        at,
    )
