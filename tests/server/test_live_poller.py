"""How live views look: once for everybody, holding nothing, and never as if they were live."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Connection

from tests.server.conftest import NOW, ORGANIZATION
from towline.reconciler import live_figures
from towline.reconciler.live_figures import Subject
from towline.reconciler.server import live
from towline.reconciler.server.live import Live
from towline.reconciler.server.live_messages import Message
from towline.reconciler.store.engine import Store
from towline.reconciler.store.events import Event, record

FLEET = Subject(ORGANIZATION)


@pytest.fixture(autouse=True)
def looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody has the time to wait."""
    monkeypatch.setattr(live, "LOOK_EVERY_S", 0.01)
    monkeypatch.setattr(live, "REST_FACTOR", 0)


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Subject]]:
    """What was looked at."""
    made: list[Subject] = []

    def counted(connection: Connection, subject: Subject, seen_after: int) -> Any:
        made.append(subject)
        return live_figures.figures(connection, subject, seen_after)

    monkeypatch.setattr(live, "figures", counted)
    yield made


def happen(store: Store, *words: str) -> None:
    """Events of the fleet."""
    with store.write() as connection:
        events = [Event("repository.applied", message=word) for word in words]
        record(connection, ORGANIZATION, NOW, *events)


def words(message: Message) -> list[str]:
    """What a message says that happened."""
    return [event["message"] for event in message.document["events"]]


def test_all_viewers_share_one_look_and_one_message(store: Store, looks: list[Subject]) -> None:
    async def watch() -> None:
        views = Live(store, lambda: 0)
        streams = [views.messages(FLEET, None) for _ in range(20)]
        firsts = await asyncio.gather(*(anext(stream) for stream in streams))
        assert len(looks) == 1
        assert all(each is firsts[0] for each in firsts)
        happen(store, "one")
        seconds = await asyncio.gather(*(anext(stream) for stream in streams))
        assert len(looks) == 2
        assert all(each is seconds[0] for each in seconds)
        assert words(seconds[0]) == ["one"]

    asyncio.run(watch())


def test_nothing_is_read_while_nothing_happens(store: Store, looks: list[Subject]) -> None:
    async def watch() -> None:
        views = Live(store, lambda: 0)
        stream = views.messages(FLEET, None)
        await anext(stream)
        await asyncio.sleep(0.1)
        assert len(looks) == 1
        await stream.aclose()
        await asyncio.sleep(0.1)  # A look at whether something happened may be under way.
        happen(store, "unseen")
        await asyncio.sleep(0.1)
        assert len(looks) == 1

    asyncio.run(watch())


def test_presence_is_looked_at_without_an_event(
    store: Store, looks: list[Subject], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "LOOK_ANYWAY_S", 0.03)

    async def watch() -> None:
        views = Live(store, lambda: 0)
        stream = views.messages(FLEET, None)
        await anext(stream)
        async with asyncio.timeout(10):
            while len(looks) < 3:
                await asyncio.sleep(0.01)

    asyncio.run(watch())


def test_no_connection_is_held_between_looks(store: Store) -> None:
    async def watch() -> None:
        views = Live(store, lambda: 0)
        stream = views.messages(FLEET, None)
        await anext(stream)
        pool: Any = store.engine.pool
        assert pool.checkedout() == 0

    asyncio.run(watch())


def test_who_reads_slowly_is_told_everything_in_the_end(store: Store) -> None:
    async def watch() -> None:
        views = Live(store, lambda: 0)
        slow, quick = views.messages(FLEET, None), views.messages(FLEET, None)
        await anext(slow)
        await anext(quick)
        for word in ("one", "two", "three"):
            happen(store, word)
            assert words(await anext(quick)) == [word]
        assert words(await anext(slow)) == ["one", "two", "three"]
        happen(store, "four")
        assert words(await anext(slow)) == ["four"]

    asyncio.run(watch())


def test_of_too_much_at_once_it_says_that_there_is_more(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "TOLD_LIMIT", 2)

    async def watch() -> None:
        stream = Live(store, lambda: 0).messages(FLEET, None)
        await anext(stream)
        happen(store, "one", "two", "three")
        message = await anext(stream)
        assert (words(message), message.document["more_events"]) == (["one", "two"], True)

    asyncio.run(watch())


def test_a_stream_ends_when_its_subject_is_gone_or_cannot_be_read(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ValueError("a bug")

    def gone(*_: object) -> None:
        return None

    async def watch(figures: Any) -> None:
        views = Live(store, lambda: 0)
        stream = views.messages(FLEET, None)
        await anext(stream)
        with monkeypatch.context() as changed:
            changed.setattr(live, "figures", figures)
            happen(store, "something")
            assert [each async for each in stream] == []
            assert views.viewers == 0
        # Who comes again begins anew.
        assert (await anext(views.messages(FLEET, None))).kind == "figures"

    for figures in (broken, gone):
        asyncio.run(watch(figures))


def test_a_stream_ends_in_time_for_its_reader_to_be_asked_again_who_it_is(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "STREAM_LIFE_S", 0.5)
    monkeypatch.setattr(live, "HEARTBEAT_S", 0.02)

    async def watch() -> list[str]:
        return [each.kind async for each in Live(store, lambda: 0).messages(FLEET, None)]

    assert set(asyncio.run(watch())) == {"figures", "heartbeat"}


def test_a_look_that_takes_long_is_followed_by_a_long_rest(
    store: Store, looks: list[Subject], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "REST_FACTOR", 1_000_000)

    async def watch() -> None:
        stream = Live(store, lambda: 0).messages(FLEET, None)
        await anext(stream)
        happen(store, "something")
        await asyncio.sleep(0.2)
        assert len(looks) == 1

    asyncio.run(watch())
