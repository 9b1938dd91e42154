"""Live views: one poller for everybody who looks, and server-sent events to each of them.

The poller looks while somebody is there, at most twice a second; it asks for the newest event first
and reads figures only when that moved. After a look it rests twenty times as long as the look took,
so that all live views together cost at most a twentieth of a processor. Between looks no connection
to the store is held. Everything but `_look` belongs to the event loop's thread.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import orjson
import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from towline.reconciler.live_figures import TOLD_LIMIT, Subject, figures, happened, is_over
from towline.reconciler.store import reading_live
from towline.reconciler.store.engine import Store

LOOK_EVERY_S = 0.5
REST_FACTOR = 20
LOOK_ANYWAY_S = 10.0
"""Silence and presence change without an event."""
HEARTBEAT_S = 15.0
STREAM_LIFE_S = 600.0
"""A stream ends then and the reader comes again, so that a revoked token reads no longer."""
RETRY_MS = 2000
VIEWERS_LIMIT = 2000
MISSED_LIMIT = 1000
"""So many events are told to a reader who comes again."""

log = structlog.get_logger()


class TooManyViewers(Exception):
    """No more streams are taken."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """What a look at one subject brought."""

    newest: int
    shown: dict[str, Any] | None
    told: list[dict[str, Any]]
    took_s: float


class _Watched:
    """A subject that somebody looks at."""

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        self.viewers = 0
        self.version = 0
        self.shown: dict[str, Any] = {}
        self.newest = 0
        """The number of the last event that the figures include."""
        self.told: deque[dict[str, Any]] = deque(maxlen=200)
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
        self.newest = seen.newest
        if seen.shown is None or (seen.shown == self.shown and not seen.told):
            return
        self.shown = seen.shown
        self.told.extend(seen.told)
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
        self._store = store
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

    async def stream(self, subject: Subject, last_event: int | None) -> AsyncIterator[bytes]:
        """Server-sent events until the run is over, the reader goes, or the stream is old.

        `last_event`: what happened since that event is told first.
        """
        ends_at = time.monotonic() + STREAM_LIFE_S
        watched = self._join(subject)
        try:
            yield b"retry: %d\n\n" % RETRY_MS
            missed = [] if last_event is None else await self._missed(subject, last_event)
            reader = _Reader(last_event, missed)
            while not self._is_closed and time.monotonic() < ends_at:
                changed = watched.changed
                if watched.version == reader.version:
                    if not await _came(changed):
                        yield b": still here\n\n"
                    continue
                yield reader.next_message(watched)
                if is_over(watched.shown):
                    yield _message("end", {"status": watched.shown["status"]}, reader.sent)
                    return
        finally:
            self._leave(watched)

    async def _missed(self, subject: Subject, after: int) -> list[dict[str, Any]]:
        def read() -> list[dict[str, Any]]:
            found: list[dict[str, Any]] = []
            with self._store.read() as connection:
                while len(found) < MISSED_LIMIT:
                    more = happened(connection, subject, found[-1]["id"] if found else after)
                    found += more
                    if len(more) < TOLD_LIMIT:
                        break
            return found

        return await asyncio.to_thread(read)

    def _join(self, subject: Subject) -> _Watched:
        watched = self._watched.setdefault(subject, _Watched(subject))
        watched.viewers += 1
        if self._poller is None or self._poller.done():
            self._poller = asyncio.get_running_loop().create_task(self._poll())
        return watched

    def _leave(self, watched: _Watched) -> None:
        watched.viewers -= 1
        if not watched.viewers:
            self._watched.pop(watched.subject, None)

    async def _poll(self) -> None:
        while self._watched and not self._is_closed:
            now = time.monotonic()
            due = [each for each in self._watched.values() if each.rests_until <= now]
            try:
                for watched, seen in await asyncio.to_thread(self._look, due):
                    watched.take(seen)
            except SQLAlchemyError:
                log.exception("live.look-failed")
            await asyncio.sleep(LOOK_EVERY_S)

    def _look(self, due: list[_Watched]) -> list[tuple[_Watched, _Seen]]:
        """In one transaction, on a thread of its own; changes nothing."""
        with self._store.read() as connection:
            newest = reading_live.newest_event(connection)
            now = time.monotonic()
            return [
                (each, self._look_at(connection, each, newest))
                for each in due
                if each.is_due(newest, now)
            ]

    def _look_at(self, connection: Connection, watched: _Watched, newest: int) -> _Seen:
        began = time.monotonic()
        shown = figures(connection, watched.subject, self._seen_after())
        told: list[dict[str, Any]] = []
        if watched.version and newest != watched.newest:
            told = happened(connection, watched.subject, watched.newest)
        return _Seen(newest, shown, told, time.monotonic() - began)


class _Reader:
    """How far one reader has come."""

    def __init__(self, last_event: int | None, missed: list[dict[str, Any]]) -> None:
        self.version = 0
        self.sent = last_event or 0
        self._is_new = last_event is None
        self._missed = missed

    def next_message(self, watched: _Watched) -> bytes:
        """The figures as they are, and what happened that this reader was not told yet."""
        told, self._missed = self._missed, []
        if told:
            self.sent = max(self.sent, told[-1]["id"])
        if not self._is_new:
            told = told + [event for event in watched.told if event["id"] > self.sent]
        self._is_new = False
        self.version = watched.version
        self.sent = max([self.sent, watched.newest, *(event["id"] for event in told)])
        return _message("figures", watched.shown | {"events": told}, self.sent)


async def _came(changed: asyncio.Event) -> bool:
    """False when nothing came for the time of a heartbeat."""
    try:
        async with asyncio.timeout(HEARTBEAT_S):
            await changed.wait()
    except TimeoutError:
        return False
    return True


def _message(kind: str, document: dict[str, Any], number: int) -> bytes:
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (number, kind.encode(), orjson.dumps(document))
