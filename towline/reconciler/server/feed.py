"""The feed of what other processes on the same Postgres write, read in a thread of its own.

It reads at each notification, and every second without one, so that a notification that was missed
is repaired then; after an outage it goes on with the row that it read last. Whoever did not read
for so long that rows were let go meanwhile, as a process that was suspended, begins anew.
"""

import threading
import time

import structlog

from towline.reconciler.server.fleets import Fleets
from towline.reconciler.server.hearing import Hearing
from towline.reconciler.store import outbox
from towline.reconciler.store.engine import AWAY, Store
from towline.reconciler.store.outbox import Told
from towline.reconciler.store.subscription import SessionLost, Subscription
from towline.reconciler.store.trouble import while_serving

READ_EVERY_S = 0.75
"""So that what nobody was notified of is known within a second."""
REST_S = 0.02
AGAIN_S = 0.5
"""After the session was lost, a new one is tried so often."""
PRUNE_EVERY_S = 60.0

log = structlog.get_logger()


class Feed:
    """Owns the thread and its session."""

    def __init__(self, store: Store, hearing: Hearing, fleets: Fleets) -> None:
        self._store = store
        self._hearing = hearing
        self._fleets = fleets
        with store.read() as connection:
            self._last = outbox.newest(connection)
        self._prune_at = 0.0
        self._stopping = threading.Event()
        self._session: Subscription | None = None
        self._thread = threading.Thread(target=self._run, name="feed")

    def start(self) -> None:
        """Begin; what is in memory is as new as the store was when the feed was made, or newer."""
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._follow()
            except (SessionLost, *AWAY) as error:
                log.error("feed.lost", **while_serving(self._store.engine, error))
            except Exception:
                # A bug must be loud and must not end the feed.
                log.exception("feed.failed")
            self._leave()
            self._stopping.wait(AGAIN_S)

    def _leave(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            session.close()

    def _follow(self) -> None:
        """Until the session is lost or the server ends."""
        session = self._session = self._session or Subscription(self._store, self._last)
        due_at = time.monotonic()
        while not self._stopping.is_set():
            words = session.wait(due_at - time.monotonic())
            is_due = time.monotonic() >= due_at
            told = session.read() if is_due or outbox.ROWS in words else Told()
            if is_due:
                due_at = time.monotonic() + READ_EVERY_S
                self._prune()
            if told is None:
                log.warning("feed.begins-anew", missed_behind=self._last)
                self._hearing.of_anything()
            else:
                told.is_work = outbox.WORK in words or (is_due and self._is_work_left(session))
                if told:
                    self._hearing.of_others(told)
            # Not before it was passed on: what failed on the way is read again.
            self._last = session.last
            # What comes thick and fast is read together.
            self._stopping.wait(REST_S)

    def _is_work_left(self, session: Subscription) -> bool:
        """A pass takes what is left at once, so this is true for one that was told to nobody."""
        led = [each.organization for each in self._fleets if each.leads()]
        return bool(led) and session.is_work_left(led)

    def _prune(self) -> None:
        if time.monotonic() >= self._prune_at and any(each.leads() for each in self._fleets):
            self._prune_at = time.monotonic() + PRUNE_EVERY_S
            with self._store.write() as connection:
                outbox.prune(connection)
