"""Live views: one poller for everybody who looks, and the same messages for each of them.

The poller looks while somebody is there, at most twice a second; it asks for the newest event
first and reads figures only when that moved. After a look at one thing it rests twenty times as
long as it took, and after all of them four times as long, so that no view costs more than a
twentieth of a processor and all of them not more than a fifth. Between looks no connection to the
store is held.
Everything but `_look` and `_missed` belongs to the event loop's thread.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import structlog
from sqlalchemy import Connection

from towline.reconciler.live_figures import Subject, figures, happened, is_over
from towline.reconciler.server.live_messages import Message, end_of, told
from towline.reconciler.store import reading_live
from towline.reconciler.store.bound import bound_to
from towline.reconciler.store.engine import Store

LOOK_EVERY_S = 0.5
REST_FACTOR = 20
REST_OF_ALL_FACTOR = 4
LOOK_ANYWAY_S = 10.0
"""Silence and presence change without an event."""
HEARTBEAT_S = 15.0
STREAM_LIFE_S = 600.0
"""A stream ends then and the reader comes again, so that a revoked token reads no longer."""
VIEWERS_LIMIT = 2000
TOLD_LIMIT = 100
"""So many events are told at once of what happened between two looks."""
MISSED_LIMIT = 1000
"""So many are told to a reader who comes again."""

log = structlog.get_logger()


class TooManyViewers(Exception):
    """No more streams are taken."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """What a look at one subject brought."""

    newest: int
    shown: dict[str, Any] | None
    """None: there is no such thing any more, or it could not be read."""
    events: list[dict[str, Any]]
    took_s: float


class _Watched:
    """A subject that somebody looks at."""

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        self.viewers = 0
        self.version = 0
        """Counts the messages; 0 until the first look."""
        self.newest = 0
        """The number of the last event that the figures include."""
        self.shown: dict[str, Any] = {}
        self.for_new = self.for_all = Message(None, "figures", {})
        """The message of this version: without events, and for who was told the version before."""
        self.is_gone = False
        self.looked_at = 0.0
        self.rests_until = 0.0
        self.changed = asyncio.Event()

    def is_due(self, newest: int, now: float) -> bool:
        """True when another look may show something else."""
        return newest != self.newest or not self.version or self.looked_at + LOOK_ANYWAY_S <= now

    def take(self, seen: _Seen) -> None:
        """Keep what was seen, and tell it when it is news."""
        self.looked_at = time.monotonic()
        self.rests_until = self.looked_at + REST_FACTOR * seen.took_s
        if seen.shown is None:
            self.is_gone = True
            self.wake()
            return
        self.newest = seen.newest
        if seen.shown == self.shown and not seen.events:
            return
        self.shown = seen.shown
        self.for_new = told(seen.shown, [], seen.newest, TOLD_LIMIT)
        self.for_all = told(seen.shown, seen.events, seen.newest, TOLD_LIMIT)
        self.version += 1
        self.wake()

    def wake(self) -> None:
        """Let everybody who waits look."""
        self.changed.set()
        self.changed = asyncio.Event()


class Live:
    """All live views of this process."""

    def __init__(self, store: Store, seen_after: Callable[[], int]) -> None:
        """`seen_after`: devices that were not seen after that time are offline."""
        self._store_of = lru_cache(maxsize=None)(partial(bound_to, store))
        self._seen_after = seen_after
        self._watched: dict[Subject, _Watched] = {}
        self._poller: asyncio.Task[None] | None = None
        self._is_closed = False

    def close(self) -> None:
        """End every stream: the server ends."""
        self._is_closed = True
        for watched in self._watched.values():
            watched.wake()

    @property
    def viewers(self) -> int:
        """How many streams are open."""
        return sum(watched.viewers for watched in self._watched.values())

    def check_room(self) -> None:
        """Raises TooManyViewers."""
        if self.viewers >= VIEWERS_LIMIT:
            raise TooManyViewers

    async def messages(
        self, subject: Subject, last_event: int | None
    ) -> AsyncGenerator[Message, None]:
        """What a reader is told, until the run is over, the subject gone or the stream old.

        `last_event`: what happened since that event is told first.
        """
        ends_at = time.monotonic() + STREAM_LIFE_S
        watched = self._join(subject)
        version, number = 0, last_event
        try:
            while not (self._is_closed or watched.is_gone) and time.monotonic() < ends_at:
                if version == watched.version:
                    if not await _came(watched.changed):
                        yield Message(number, "heartbeat", {})
                    continue
                is_next, version = 0 < version == watched.version - 1, watched.version
                if is_next:
                    message = watched.for_all
                elif number is None:
                    message = watched.for_new
                else:
                    message = await self._missed(watched, number)
                number = message.number
                yield message
                if is_over(message.document):
                    yield end_of(message)
                    return
        finally:
            self._leave(watched)

    async def _missed(self, watched: _Watched, after: int) -> Message:
        """The figures for a reader who was told nothing behind that event."""
        shown, newest = watched.shown, watched.newest

        def read() -> list[dict[str, Any]]:
            with self._store_of(watched.subject.organization).read() as connection:
                return happened(connection, watched.subject, after, newest, MISSED_LIMIT + 1)

        return told(shown, await asyncio.to_thread(read), newest, MISSED_LIMIT)

    def _join(self, subject: Subject) -> _Watched:
        watched = self._watched.setdefault(subject, _Watched(subject))
        watched.viewers += 1
        if self._poller is None or self._poller.done():
            self._poller = asyncio.get_running_loop().create_task(self._poll())
        return watched

    def _leave(self, watched: _Watched) -> None:
        watched.viewers -= 1
        if not watched.viewers:
            self._forget(watched)

    def _forget(self, watched: _Watched) -> None:
        """Who comes now begins anew."""
        if self._watched.get(watched.subject) is watched:
            del self._watched[watched.subject]

    async def _poll(self) -> None:
        while self._watched and not self._is_closed:
            began = time.monotonic()
            due = [each for each in self._watched.values() if each.rests_until <= began]
            for watched, seen in await asyncio.to_thread(self._look, due):
                watched.take(seen)
                if watched.is_gone:
                    self._forget(watched)
            took_s = time.monotonic() - began
            await asyncio.sleep(max(LOOK_EVERY_S, REST_OF_ALL_FACTOR * took_s))

    def _look(self, due: list[_Watched]) -> list[tuple[_Watched, _Seen]]:
        """On a thread of its own; changes nothing."""
        groups: dict[str, list[_Watched]] = {}
        for each in due:
            groups.setdefault(each.subject.organization, []).append(each)
        return [seen for name, group in groups.items() for seen in self._look_in(name, group)]

    def _look_in(self, organization: str, due: list[_Watched]) -> list[tuple[_Watched, _Seen]]:
        """At all of an organization, in one transaction."""
        now = time.monotonic()
        try:
            with self._store_of(organization).read() as connection:
                newest = reading_live.newest_event(connection)
                return [
                    (each, self._look_at(connection, each, newest))
                    for each in due
                    if each.is_due(newest, now)
                ]
        except Exception:
            # Whatever it was: the readers come again, and see until then that nothing is live.
            log.exception("live.look-failed")
            return [(each, _Seen(0, None, [], 0.0)) for each in due]

    def _look_at(self, connection: Connection, watched: _Watched, newest: int) -> _Seen:
        began = time.monotonic()
        shown = figures(connection, watched.subject, self._seen_after())
        events: list[dict[str, Any]] = []
        if watched.version and newest != watched.newest:
            events = happened(connection, watched.subject, watched.newest, newest, TOLD_LIMIT + 1)
        return _Seen(newest, shown, events, time.monotonic() - began)


async def _came(changed: asyncio.Event) -> bool:
    """False when nothing came for the time of a heartbeat."""
    try:
        async with asyncio.timeout(HEARTBEAT_S):
            await changed.wait()
    except TimeoutError:
        return False
    return True
