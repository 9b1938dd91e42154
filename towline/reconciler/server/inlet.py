"""The inlet: one thread that writes what devices say, many of them in one transaction.

Whatever came while a transaction was written goes into the next one, so that the disk sets the
pace and nobody waits for a timer. A report is acknowledged only after its commit.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

import structlog
from sqlalchemy import Connection, func, select

from towline.reconciler import ingest
from towline.reconciler.observe import SEEN_POLLS
from towline.reconciler.store import access, dirt
from towline.reconciler.store.engine import Store
from towline.reconciler.store.tables import device_state, edge_devices
from towline.schemas.reports import Report

REPORTS_PER_FLUSH = 500
PRESENCE_S = 60

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Letter:
    """The reports of one request, and who waits for them."""

    device_seq: int
    reports: Sequence[Report]
    acknowledged: "Future[None]"


@dataclass(slots=True)
class _Flush:
    """What one transaction takes in."""

    letters: list[_Letter] = field(default_factory=list)
    fetched: set[int] = field(default_factory=set)
    seen: dict[int, int] = field(default_factory=dict)


class Inlet:
    """Owns the writing thread; its methods may be called from any thread."""

    def __init__(
        self,
        store: Store,
        *,
        poll_interval_s: int,
        ring: Callable[[set[int]], None],
        wake: Callable[[], None],
        end_sessions: Callable[[set[int]], None],
    ) -> None:
        self._store = store
        self._poll_interval_s = poll_interval_s
        self._ring = ring
        self._wake = wake
        self._end_sessions = end_sessions
        self._changed = threading.Condition()
        self._next = _Flush()
        self._presence_at = time.monotonic()
        self._is_stopping = False
        self._thread = threading.Thread(target=self._run, name="inlet")

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Write what is left, then end."""
        with self._changed:
            self._is_stopping = True
            self._changed.notify()
        self._thread.join()

    def report(self, device_seq: int, reports: Sequence[Report]) -> "Future[None]":
        """Hand in reports; the future ends once they are committed."""
        letter = _Letter(device_seq, reports, Future())
        with self._changed:
            self._next.letters.append(letter)
            self._changed.notify()
        return letter.acknowledged

    def fetched(self, device_seq: int) -> None:
        """The device was served a document with something to install."""
        with self._changed:
            self._next.fetched.add(device_seq)
            self._changed.notify()

    def seen(self, device_seq: int, now: int) -> None:
        """The device spoke; written with the next flush of presence."""
        with self._changed:
            self._next.seen[device_seq] = now

    def _run(self) -> None:
        while True:
            flush, is_last = self._take()
            self._write(flush)
            if is_last:
                return

    def _take(self) -> tuple[_Flush, bool]:
        """Wait until there is something to write."""
        with self._changed:
            while not (self._next.letters or self._next.fetched or self._is_stopping):
                left = self._presence_at - time.monotonic()
                if left <= 0:
                    break
                self._changed.wait(left)
            letters = self._next.letters
            is_last = self._is_stopping and len(letters) <= REPORTS_PER_FLUSH
            taken = _Flush(letters[:REPORTS_PER_FLUSH], self._next.fetched)
            rest = _Flush(letters[REPORTS_PER_FLUSH:], seen=self._next.seen)
            if is_last or time.monotonic() >= self._presence_at:
                taken.seen, rest.seen = rest.seen, {}
                self._presence_at = time.monotonic() + min(PRESENCE_S, self._poll_interval_s)
            self._next = rest
            return taken, is_last

    def _write(self, flush: _Flush) -> None:
        try:
            self._commit(flush)
        except Exception as error:  # noqa: BLE001 whatever it was, each letter gets its answer
            if len(flush.letters) > 1:
                # One bad letter must not keep the others from being acknowledged.
                self._write(_Flush([], flush.fetched, flush.seen))
                for letter in flush.letters:
                    self._write(_Flush([letter]))
                return
            log.error("inlet.failed", error=repr(error))
            for letter in flush.letters:
                if letter.acknowledged.set_running_or_notify_cancel():
                    letter.acknowledged.set_exception(error)
            return
        for letter in flush.letters:
            # One who was cancelled meanwhile (the server ends) is not told.
            if letter.acknowledged.set_running_or_notify_cancel():
                letter.acknowledged.set_result(None)

    def _commit(self, flush: _Flush) -> None:
        now = int(time.time())
        reports = [(each.device_seq, report) for each in flush.letters for report in each.reports]
        with self._store.write() as connection:
            touched = ingest.commit_reports(connection, now, reports)
            ingest.mark_fetched(connection, now, sorted(flush.fetched))
            has_returned = note_returned(
                connection, flush.seen, now - SEEN_POLLS * self._poll_interval_s
            )
            ingest.mark_seen(connection, flush.seen)
            ended = access.end_revoked_sessions(connection)
        self._end_sessions(ended)
        if touched | ended:
            self._ring(touched | ended)
        if reports or flush.fetched or has_returned:
            self._wake()


def note_returned(connection: Connection, seen: Mapping[int, int], silent_since: int) -> bool:
    """Let the next pass look again when a device is back that was silent for long."""
    organizations = connection.execute(
        select(edge_devices.c.organization)
        .join(device_state, device_state.c.device_seq == edge_devices.c.seq)
        .where(
            edge_devices.c.seq.in_(sorted(seen)),
            func.coalesce(device_state.c.last_seen, 0) < silent_since,
        )
        .distinct()
    ).scalars()
    returned = list(organizations)
    for organization in returned:
        dirt.mark_all(connection, organization)
    return bool(returned)
