"""What a transaction tells reaches its own process and all others: once, and in order."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from queue import Queue
from threading import Event

import pytest
from sqlalchemy import Connection, func, insert, select, text, update
from sqlalchemy.exc import OperationalError
from structlog.testing import capture_logs

from tests.stores import open_fresh, place_of
from towline.reconciler.server import feed as feeds
from towline.reconciler.server.feed import Feed
from towline.reconciler.server.fleets import Fleets
from towline.reconciler.server.hearing import Hearing
from towline.reconciler.store import outbox, postgres
from towline.reconciler.store import tables as t
from towline.reconciler.store.engine import Store, open_store
from towline.reconciler.store.outbox import ROWS, WORK, Told
from towline.reconciler.store.subscription import SessionLost, Subscription

on_postgres = pytest.mark.parametrize("engine", ["postgres"], indirect=True)
LONG_S = 20.0
"""What comes sooner did not wait for the clock."""


@pytest.fixture
def store(engine: str, tmp_path: Path) -> Iterator[Store]:
    opened = open_fresh(tmp_path / "towline.db")
    yield opened
    opened.close()


@pytest.fixture
def other(engine: str, store: Store, tmp_path: Path) -> Iterator[Store]:
    """The same one, as another process has it."""
    opened = open_store(place_of(tmp_path / "towline.db"))
    yield opened
    opened.close()


def tell(store: Store, *devices: int, works: bool = False) -> None:
    with store.write() as connection:
        outbox.ring(connection, devices)
        if works:
            outbox.wake(connection)


@pytest.mark.both_engines
def test_the_process_itself_hears_what_was_committed_and_nothing_else(store: Store) -> None:
    heard: list[Told] = []
    store.hear(heard.append)
    with pytest.raises(RuntimeError), store.write() as connection:
        outbox.ring(connection, {1})
        raise RuntimeError
    with store.write():
        """Nothing is told."""
    with store.write() as connection:
        outbox.ring(connection, {2, 3})
        outbox.ring(connection, {3, 4})
        outbox.tell_session(connection, 2, "ab")
        outbox.ring_everyone(connection, "acme")
        outbox.tell_repository(connection, "acme")
    tell(store, works=True)
    assert heard == [Told({2, 3, 4}, {"acme"}, {2: "ab"}, {"acme"}), Told(is_work=True)]


@pytest.mark.both_engines
def test_what_may_be_committed_is_told_though_nobody_said_that_it_is(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else bells would stay still of documents that did change."""
    commits = Connection.commit

    def is_lost(connection: Connection) -> None:
        commits(connection)
        raise OperationalError("COMMIT", {}, ConnectionResetError())

    heard: list[Told] = []
    store.hear(heard.append)
    monkeypatch.setattr(Connection, "commit", is_lost)
    with pytest.raises(OperationalError):
        tell(store, 1)
    assert heard == [Told({1})]


@pytest.mark.both_engines
def test_what_was_committed_was_written_whoever_fails_to_hear_of_it(store: Store) -> None:
    """Else the writer would say that it was not, and others would not hear."""
    heard: list[Told] = []

    def fails(_: Told) -> None:
        raise RuntimeError("a bug")

    store.hear(fails)
    store.hear(heard.append)
    with capture_logs() as logged:
        tell(store, 1)
    assert heard == [Told({1})]
    assert [(line["event"], line["log_level"]) for line in logged] == [("listener.failed", "error")]


@on_postgres
def test_others_read_it_once_in_order_and_need_no_notification_for_it(
    store: Store, other: Store
) -> None:
    there = Subscription(other, 0)
    tell(store, 1)
    tell(store, 2, works=True)
    with store.write() as connection:
        outbox.tell_session(connection, 7, "ab")
        outbox.ring_everyone(connection, "acme")
        outbox.tell_repository(connection, "acme")
    assert there.read() == Told({1, 2}, {"acme"}, {7: "ab"}, {"acme"})
    assert not there.read()
    tell(other, 3)
    assert not there.read(), "its own process has heard it"
    there.close()


@on_postgres
def test_a_notification_wakes_the_others_at_once_and_not_its_sender(
    store: Store, other: Store
) -> None:
    there, here = Subscription(other, 0), Subscription(store, 0)
    with ThreadPoolExecutor(2) as waiting:
        began = time.monotonic()
        parked = waiting.submit(there.wait, LONG_S)
        own = waiting.submit(here.wait, 0.3)
        tell(store, 1, works=True)
        assert parked.result() == {ROWS, WORK}
        assert time.monotonic() - began < LONG_S / 2
        assert own.result() == set()
    tell(store, works=True)
    assert there.wait(LONG_S) == {WORK}
    there.close()
    here.close()


@on_postgres
def test_a_session_that_was_lost_goes_on_where_it_stopped(store: Store, other: Store) -> None:
    former = Subscription(other, 0)
    tell(store, 1)
    assert former.read()
    with store.engine.connect() as connection:
        of_former = former._driver.info.backend_pid
        connection.execute(select(func.pg_terminate_backend(of_former)))
    with pytest.raises(SessionLost):
        while former.wait(LONG_S):
            """What was notified before."""
    former.close()
    tell(store, 2)
    again = Subscription(other, former.last)
    assert again.read() == Told({2})
    again.close()


def let_go(store: Store) -> None:
    """All that was told is old, and is pruned but for the newest."""
    with store.write() as connection:
        connection.execute(update(t.change_outbox).values(at=t.change_outbox.c.at - 3600))
        outbox.prune(connection)
        assert len(connection.execute(select(t.change_outbox)).all()) == 1, "the newest one stays"


@on_postgres
@pytest.mark.parametrize("read_before", [0, 1], ids=["nothing", "some"])
def test_who_was_away_for_so_long_that_rows_are_gone_knows_it(
    store: Store, other: Store, read_before: int
) -> None:
    there = Subscription(other, 0)
    for device in range(read_before):
        tell(store, device)
        assert there.read() == Told({device})
    tell(store, 2)
    tell(store, 3)
    let_go(store)
    assert there.read() is None
    tell(store, 4)
    assert there.read() == Told({4})
    there.close()


@on_postgres
def test_who_has_read_all_misses_nothing_when_it_is_let_go(store: Store, other: Store) -> None:
    there = Subscription(other, 0)
    tell(other, 1)
    tell(store, 2)
    assert there.read() == Told({2})
    let_go(store)
    assert there.read() == Told()
    there.close()


class Heard(Hearing):
    """What a feed passes on; `pause` is what it takes to hear."""

    def __init__(self, pause: Callable[[], object]) -> None:
        self.told: Queue[Told | None] = Queue()
        self._pause = pause

    def of_others(self, told: Told) -> None:
        self.told.put(told)
        self._pause()

    def of_anything(self) -> None:
        self.told.put(None)


@contextmanager
def feed(store: Store, hearing: Hearing) -> Iterator[None]:
    running = Feed(store, hearing, Fleets([]))
    running.start()
    try:
        yield
    finally:
        running.stop()


@on_postgres
def test_a_process_that_stood_still_while_rows_were_let_go_begins_anew(
    store: Store, other: Store
) -> None:
    going_on = Event()
    heard = Heard(lambda: going_on.wait(LONG_S))
    with feed(other, heard):
        tell(store, 1)
        assert heard.told.get(timeout=LONG_S) == Told({1})
        tell(store, 2)
        tell(store, 3)
        let_go(store)
        going_on.set()
        assert heard.told.get(timeout=LONG_S) is None


@on_postgres
def test_what_nobody_notified_is_read_all_the_same(
    store: Store, other: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert feeds.READ_EVERY_S < 1
    monkeypatch.setattr(feeds, "READ_EVERY_S", 0.1)
    heard = Heard(lambda: None)
    with feed(other, heard), store.write() as connection:
        row = {"sender": store.sender, "kind": "devices", "payload": [1]}
        connection.execute(insert(t.change_outbox), row)
        connection.commit()
        assert heard.told.get(timeout=LONG_S) == Told({1})


@on_postgres
def test_rows_become_visible_in_the_order_of_their_numbers(store: Store, other: Store) -> None:
    """Else who has read up to one would never read one below it: writers take turns."""
    with ThreadPoolExecutor(1) as waiting, store.write() as connection:
        outbox.ring(connection, {1})
        later = waiting.submit(tell, other, 2)
        waits = text("SELECT count(*) FROM pg_locks WHERE objid = :turn AND NOT granted")
        with store.engine.connect() as looking:
            while not looking.execute(waits, {"turn": postgres.WRITERS}).scalar_one():
                time.sleep(0.01)
        assert not later.done()
    with store.read() as connection:
        rows = connection.execute(select(t.change_outbox).order_by(t.change_outbox.c.id)).all()
    assert [row.payload for row in rows] == [[1], [2]]
