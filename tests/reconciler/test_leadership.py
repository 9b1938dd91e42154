"""One process leads, and whoever was deposed writes nothing, whether it knows of it or not."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select, text
from structlog.testing import capture_logs

from tests.postgres import Databases
from tests.reconciler.simulation import ORGANIZATION, POLL_S
from tests.reconciler.test_follow import NOW, Fleet, app
from tests.stores import open_fresh, place_of
from towline.manifests.mirror import Mirror
from towline.manifests.remote import Remote
from towline.manifests.repository import Repository
from towline.reconciler import leadership as leading
from towline.reconciler import loop
from towline.reconciler.follow import Follower
from towline.reconciler.head import Head
from towline.reconciler.leadership import Deposed, FencedStore, Leadership
from towline.reconciler.loop import LoopSettings, Reconciler
from towline.reconciler.passing import pass_over
from towline.reconciler.store import dirt, leader, postgres, runs
from towline.reconciler.store import tables as t
from towline.reconciler.store.engine import Store, open_store

on_postgres = pytest.mark.parametrize("engine", ["postgres"], indirect=True)
Opener = Callable[[], Store]


@pytest.fixture
def another(tmp_path: Path) -> Iterator[Opener]:
    """Opens the one store once more, as another process would."""
    open_fresh(tmp_path / "towline.db").close()
    with ExitStack() as opened:

        def open_again() -> Store:
            store = open_store(place_of(tmp_path / "towline.db"))
            opened.callback(store.close)
            return store

        yield open_again


def led(store: Store, leadership: Leadership) -> FencedStore:
    """The door of its present term."""
    fenced = FencedStore(store, leadership)
    fenced.epoch = leadership.epoch
    return fenced


def note(store: Store, name: str) -> None:
    """Write something."""
    row = {"organization": ORGANIZATION, "name": name, "content": {}}
    with store.write() as connection:
        connection.execute(insert(t.freezes), row)


def notes(store: Store) -> list[str]:
    with store.read() as connection:
        return list(connection.execute(select(t.freezes.c.name)).scalars())


def usurp(store: Store) -> int:
    """Elect another process."""
    with store.write() as connection:
        return leader.elect(connection, "another", NOW)


def wait_until(is_so: Callable[[], bool], seconds: float = 5) -> None:
    until = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < until
        time.sleep(0.02)


@pytest.mark.both_engines
def test_who_was_deposed_and_does_not_know_it_writes_nothing(another: Opener) -> None:
    mine, others = another(), another()
    leadership = Leadership(mine)
    changes: list[int | None] = []
    leadership.hear(lambda: changes.append(leadership.epoch))
    leadership.start()
    try:
        fenced = led(mine, leadership)
        note(fenced, "before")
        assert usurp(others) == 2
        with pytest.raises(Deposed):
            note(fenced, "after")
        assert notes(others) == ["before"]
        assert changes[:2] == [1, None]
    finally:
        leadership.stop()


@on_postgres
def test_a_seat_that_was_left_is_free_before_its_session_has_ended(
    another: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = leader.take_seat(another())
    assert left is not None
    assert leader.take_seat(another()) is None
    with monkeypatch.context() as slow:
        slow.setattr(left._connection, "close", lambda: None)
        left.leave()
    taken = leader.take_seat(another())
    assert taken is not None
    taken.leave()


@pytest.mark.both_engines
def test_what_was_decided_in_a_former_term_of_the_same_process_is_not_written(
    another: Opener,
) -> None:
    store = another()
    first = Leadership(store)
    first.start()
    former = led(store, first)
    first.stop()
    second = Leadership(store)
    second.start()
    former._leadership = second
    try:
        with pytest.raises(Deposed):
            note(former, "late")
        note(led(store, second), "in time")
    finally:
        second.stop()
    assert notes(store) == ["in time"]


@on_postgres
def test_another_takes_over_when_the_leaders_session_ends(engine: str, another: Opener) -> None:
    standing = [Leadership(another()) for _ in range(3)]
    with ExitStack() as running:
        for each in standing:
            each.start()
            running.callback(each.stop)
        assert [each.epoch for each in standing] == [1, None, None]
        with another().engine.connect() as connection:
            connection.execute(
                text(
                    "SELECT pg_terminate_backend(l.pid) FROM pg_locks l WHERE l.granted"
                    " AND l.locktype = 'advisory' AND l.objid = :key"
                ),
                {"key": postgres.LEADER},
            )
        wait_until(lambda: [each.epoch for each in standing if each.epoch not in (None, 1)] == [2])
        wait_until(lambda: sum(each.epoch is not None for each in standing) == 1)
        (leads,) = (each for each in standing if each.epoch is not None)
        leads.stop()
        wait_until(lambda: any(each.epoch == 3 for each in standing))


@on_postgres
def test_a_database_that_only_lets_read_for_a_while_is_led_again(
    engine: str, another: Opener, databases: Databases
) -> None:
    store = another()
    leadership = Leadership(store)
    leadership.start()
    try:
        databases.let_write(store.engine.url, is_let=False)
        wait_until(lambda: leadership.epoch is None)
        time.sleep(2 * leading.CHECK_S)  # it stands for election meanwhile
        databases.let_write(store.engine.url, is_let=True)
        wait_until(lambda: leadership.epoch == 2)
    finally:
        leadership.stop()


@pytest.mark.both_engines
def test_an_error_that_nobody_foresaw_keeps_nobody_from_leading(
    another: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing = [RuntimeError("odd"), RuntimeError("odd again")]

    def elect(*told: Any) -> int:
        if failing:
            raise failing.pop()
        return elected(*told)

    elected = leader.elect
    monkeypatch.setattr(leader, "elect", elect)
    leadership = Leadership(another())
    with capture_logs() as logs:
        leadership.start()
        try:
            wait_until(lambda: leadership.epoch == 1)
        finally:
            leadership.stop()
    assert [each["event"] for each in logs] == ["leader.failed", "leader.failed", "leader.elected"]


@on_postgres
def test_a_pass_that_is_broken_off_is_made_again_in_the_next_term(
    engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = Fleet(tmp_path)
    fleet.commit(a=app("1.0.0", "a"), b=app("1.0.0", "b"))
    passed: list[tuple[str, int | None]] = []
    leadership = Leadership(fleet.store)

    def usurped_before_b(store: Store, head: Head, name: str, *more: Any) -> None:
        passed.append((name, leadership.epoch))
        if (name, leadership.epoch) == ("b", 1):
            usurp(fleet.store)
        pass_over(store, head, name, *more)

    monkeypatch.setattr(loop, "pass_over", usurped_before_b)
    settings = LoopSettings(ORGANIZATION, POLL_S, 3600)
    reconciler = Reconciler(fleet.store, Repository(fleet.folder), settings, leadership=leadership)
    reconciler.start()
    leadership.start()

    def has_run(name: str) -> bool:
        with fleet.store.read() as connection:
            return runs.newest_run(connection, ORGANIZATION, name) is not None

    try:
        wait_until(lambda: has_run("b"))
    finally:
        reconciler.stop()
        leadership.stop()
    assert passed[:4] == [("a", 1), ("b", 1), ("a", 3), ("b", 3)]


def test_who_does_not_lead_keeps_up_with_what_the_leader_applied(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path)
    first = fleet.commit(a=app("1.0.0", "a"))
    assert fleet.follower.look(NOW)
    bystander = fleet.new_follower()
    bystander.keep_up()
    assert bystander.head == fleet.follower.head
    second = fleet.commit(a=app("2.0.0", "a"))
    bystander.keep_up()
    assert bystander.head is not None
    assert bystander.head.commit.sha == first
    assert fleet.follower.look(NOW)
    bystander.keep_up()
    assert bystander.head.commit.sha == second


def test_a_mirror_that_lags_behind_the_former_leader_judges_nothing(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path)
    fleet.commit(a=app("1.0.0", "a"))
    mirror = Mirror(Remote(f"file://{fleet.folder}"), tmp_path / "mirrors")
    mirror.fetch(NOW)
    successor = Follower(fleet.store, mirror, ORGANIZATION)
    newest = fleet.commit(a=app("2.0.0", "a"))
    assert fleet.follower.look(NOW)
    successor.begin_term()
    assert mirror.is_fetch_wanted.is_set()
    assert not successor.look(NOW)
    assert (successor.head, fleet.repository()["held_commit"]) == (None, None)
    mirror.fetch(NOW)
    assert not successor.look(NOW)
    assert successor.head is not None
    assert successor.head.commit.sha == newest


def test_a_leader_goes_on_at_once_with_what_a_pass_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet, parts = Fleet(tmp_path), list[str]()
    fleet.commit(a=app("1.0.0", "a"))

    def leaves_two_parts(store: Store, _: Head, deployment: str, *__: int) -> bool:
        parts.append(deployment)
        if len(parts) <= 2:
            with store.write() as connection:
                dirt.mark(connection, ORGANIZATION, deployment)
        return len(parts) <= 2

    monkeypatch.setattr(loop, "pass_over", leaves_two_parts)
    leadership = Leadership(fleet.store)
    leadership.start()
    settings = LoopSettings(ORGANIZATION, POLL_S, git_interval_s=3600)
    reconciler = Reconciler(fleet.store, Repository(fleet.folder), settings, leadership=leadership)
    reconciler.start()
    try:
        wait_until(lambda: len(parts) == 3)
    finally:
        reconciler.stop()
        leadership.stop()
    assert parts == ["a"] * 3
