"""Whether the machine's clock may date a document: not when it is behind what is recorded.

A document of yesterday is refused by its device, or is over sooner than it says. So a server whose
clock is behind the newest time in its own store signs nothing, says so, and goes on by itself once
the clock is right. A clock that is ahead cannot be told from a server that was off for long.
"""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import structlog

from towline.reconciler.server.wire import Answer, come_later
from towline.reconciler.store import events
from towline.reconciler.store.engine import AWAY, Store
from towline.schemas import times

TOLERANCE_S = 300
"""So much clocks of several processes may differ, and one may be set back."""
LOOK_AGAIN_S = 60.0
COME_AGAIN_S = 60
"""When a device that got no document asks again."""
CODE = "clock-behind"

log = structlog.get_logger()


def behind_s(now: int, newest: int) -> int:
    """How far the clock is behind the newest recorded time, beyond what is tolerated; else 0."""
    return newest - now if newest - now > TOLERANCE_S else 0


def stepped_back(now: float, expected: float) -> bool:
    """Whether the clock was set back since it was looked at, by more than is tolerated."""
    return expected - now > TOLERANCE_S


@dataclass(frozen=True, slots=True)
class _Look:
    """What was found in the store, and when by both clocks."""

    newest: int
    wall: float
    steady: float


class ClockGuard:
    """Knows the newest recorded time; asks the store for it each minute and after a step back."""

    def __init__(
        self,
        store: Store,
        *,
        is_accepted: bool = False,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        """`is_accepted`: a person vouches for the clock, whatever is recorded until now."""
        self._store = store
        self._steady = steady
        self._in_background = ThreadPoolExecutor(1, "clock-guard")
        self._is_behind = False
        self._look = _Look(0, time.time(), steady())
        self._vouched = 0
        self.look()
        if is_accepted:
            self._vouched = self._look.newest

    def look(self) -> None:
        """Ask the store; where it is away the clock is judged by what it said before."""
        try:
            with self._store.read() as connection:
                newest = events.newest_time(connection)
        except AWAY:
            newest = 0
        known = max(newest, self._look.newest)
        self._look = _Look(known, time.time(), self._steady())

    def behind_s(self) -> int:
        """How far the clock is behind; 0: it may be believed. Tells the log when that changes."""
        now, look = time.time(), self._look
        passed_s = self._steady() - look.steady
        if stepped_back(now, look.wall + passed_s):
            self.look()
        elif passed_s > LOOK_AGAIN_S:
            self._look = _Look(look.newest, now, self._steady())
            self._in_background.submit(self.look)
        newest = self._look.newest
        found = behind_s(int(now), newest) if newest > self._vouched else 0
        if bool(found) != self._is_behind:
            self._is_behind = bool(found)
            self._tell(found, newest)
        return found

    def refusal(self) -> Answer | None:
        """What a device gets that asks for a document; None: one may be signed."""
        found = self.behind_s()
        return come_later(503, CODE, self.words(found), COME_AGAIN_S) if found else None

    def words(self, found: int) -> str:
        """What is wrong, and what to do."""
        return (
            f"the server's clock is {found} seconds behind the newest time in its store,"
            f" {times.to_rfc3339(self._look.newest)}: no document is signed until it is set right"
        )

    def close(self) -> None:
        """Look no more."""
        self._in_background.shutdown()

    def _tell(self, found: int, newest: int) -> None:
        if found:
            remedy = "set the clock; is it right, serve with --accept-clock"
            recorded = times.to_rfc3339(newest)
            log.error("clock.behind", behind_s=found, recorded=recorded, remedy=remedy)
        else:
            log.info("clock.right")
