"""Whether this process leads: it stands for election until it wins, and watches that it still does.

Any number of processes may share one Postgres; one of them decides. Who is deposed learns it at the
latest from its next write, which the fence refuses, and stands for election again.
"""

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import structlog
from sqlalchemy import Connection

from towline.reconciler.store import leader, outbox, postgres
from towline.reconciler.store.engine import AWAY, Store
from towline.reconciler.store.leader import Seat
from towline.reconciler.store.trouble import while_serving

CHECK_S = 1.0
"""How often the seat is looked at, by who has it and by who waits for it."""
SPREAD_S = 0.25
"""Those who wait do not all ask at the same moment."""

log = structlog.get_logger()


class Deposed(Exception):
    """Another process leads: nothing was written."""


class Leadership:
    """Owns the thread that stands for election; everything may be asked from any thread."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._listeners: list[Callable[[], None]] = []
        self._changing = threading.RLock()
        self._seat: Seat | None = None
        self._is_away = False
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self.epoch: int | None = None
        """Of the term in which this process leads; None while it does not."""

    def hear(self, listener: Callable[[], None]) -> None:
        """Let it be called whenever this process begins or ceases to lead."""
        self._listeners.append(listener)

    def start(self) -> None:
        """Stand for election, at once and for as long as it takes."""
        self._look()
        self._thread = threading.Thread(target=self._run, name="leadership")
        self._thread.start()

    def stop(self) -> None:
        """Make room for another process."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()
        with self._changing:
            self._give_up()

    def lose(self, epoch: int) -> None:
        """That term is over: somebody else was elected."""
        if self.epoch != epoch:
            # Nor may it wait for an election, which waits for the turn to write that it holds.
            return
        with self._changing:
            if self.epoch == epoch:
                log.warning("leader.deposed", epoch=epoch)
                self._give_up()

    def _run(self) -> None:
        while not self._stopping.wait(CHECK_S + random.uniform(0, SPREAD_S)):  # noqa: S311 no secret
            self._look()

    def _look(self) -> None:
        try:
            with self._changing:
                self._stand_or_stay()
        except AWAY as error:
            if not self._is_away:
                log.error("leader.store-away", **while_serving(self._store.engine, error))
            self._is_away = True
        except Exception:
            # A bug must be loud, and yet somebody has to lead.
            log.exception("leader.failed")
        else:
            self._is_away = False

    def _stand_or_stay(self) -> None:
        if self._seat is not None:
            if not self._seat.is_held():
                log.warning("leader.lost", epoch=self.epoch)
                self._give_up()
            return
        self._seat = leader.take_seat(self._store)
        if self._seat is None:
            return
        try:
            with self._store.write() as connection:
                epoch = leader.elect(connection, postgres.OWN_NAME, int(time.time()))
        except BaseException:
            self._give_up()
            raise
        log.info("leader.elected", epoch=epoch)
        self._set(epoch)

    def _give_up(self) -> None:
        if self.epoch is not None:
            self._set(None)
        seat, self._seat = self._seat, None
        if seat is not None:
            seat.leave()

    def _set(self, epoch: int | None) -> None:
        self.epoch = epoch
        for listener in self._listeners:
            listener()


class FencedStore(Store):
    """The one door by which a leader writes: each transaction begins with a look at the epoch.

    It is bound to a term, not to the process: what was decided in a former term of the same
    process may rest on what another leader has changed since.
    """

    def __init__(self, store: Store, leadership: Leadership) -> None:
        # Its transactions are those of the store behind it, lock included.
        self.engine = store.engine
        self._store = store
        self._leadership = leadership
        self.epoch: int | None = None
        """The term in which is written; set by who decides, between two passes."""

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """As the store's; raises Deposed where the term is over."""
        epoch = self.epoch
        if epoch is None or epoch != self._leadership.epoch:
            raise Deposed
        with self._store.write() as connection:
            if not leader.is_in_force(connection, epoch):
                self._leadership.lose(epoch)
                raise Deposed
            yield connection
            # Its own passes need not wake it: it looks again by itself.
            outbox.told(connection).is_work = False

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """As the store's."""
        with self._store.read() as connection:
            yield connection
