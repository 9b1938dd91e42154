"""The inlet: presence of any number of devices is written, and nothing of it is lost on the way."""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, delete, insert, select, update

from tests.reconciler.simulation import ORGANIZATION, Simulation, manifest
from towline.reconciler import ingest
from towline.reconciler.server import inlet as inlets
from towline.reconciler.server import letterbox, letters
from towline.reconciler.server.inlet import Inlet, _last_seen, emptied
from towline.reconciler.server.traces import Traces
from towline.reconciler.server.turn import WORTH_A_TURN, Turn
from towline.reconciler.store import presence
from towline.reconciler.store import tables as t
from towline.reconciler.store.engine import AWAY
from towline.schemas.identifiers import device_uuid
from towline.schemas.reports import Heard, Report

MORE_THAN_PARAMETERS = 33_000
"""SQLite takes 32,766 of them in one statement."""
AT = 1_800_000_000


@pytest.fixture
def fleet(tmp_path: Path) -> Simulation:
    return Simulation(tmp_path, devices=2)


@pytest.fixture
def woken() -> list[None]:
    return []


@pytest.fixture
def inlet(fleet: Simulation, woken: list[None]) -> Iterator[Inlet]:
    """Begun by the test, so that all that was handed in before is one flush."""
    made = Inlet(
        fleet.store,
        poll_interval_s=60,
    )
    fleet.store.hear(lambda told: woken.append(None) if told.is_work else None)
    yield made
    if made._thread.is_alive():
        made.stop()


def flush(inlet: Inlet) -> None:
    """Write what was handed in."""
    inlet.start()
    inlet.stop()


def last_seen(fleet: Simulation) -> dict[int, tuple[int | None, int | None]]:
    """Device -> when it was seen, and when before."""
    rows = select(
        t.device_state.c.device_seq, t.device_state.c.last_seen, t.device_state.c.seen_before
    )
    with fleet.store.read() as connection:
        return {row[0]: (row[1], row[2]) for row in connection.execute(rows)}


def enrol_many(fleet: Simulation, n: int) -> list[int]:
    """Devices beside the two; returns their numbers."""
    with fleet.store.write() as connection:
        like = connection.execute(select(t.edge_devices).limit(1)).one()._asdict()
        seqs = range(1000, 1000 + n)
        connection.execute(
            insert(t.edge_devices),
            [
                like | {"seq": seq, "slug": slug, "id": device_uuid(ORGANIZATION, slug)}
                for seq, slug in ((seq, f"many-{seq}") for seq in seqs)
            ],
        )
        connection.execute(
            insert(t.device_state), [{"device_seq": seq, "facts": {}} for seq in seqs]
        )
    return list(seqs)


def test_more_devices_than_an_engine_has_parameters_are_seen(
    fleet: Simulation, inlet: Inlet, woken: list[None]
) -> None:
    fleet.commit(manifest("1.0.0", "  strategy: immediate\n"))
    many = enrol_many(fleet, MORE_THAN_PARAMETERS)
    woken.clear()
    for seq in many:
        inlet.seen(Traces(seq), AT)
        inlet.fetched(seq, ["app"])
    flush(inlet)
    seen = last_seen(fleet)
    assert {seen[seq] for seq in many} == {(AT, None)}
    assert woken  # a pass looks at who is back


def test_each_device_keeps_when_it_was_seen_before(fleet: Simulation) -> None:
    one, two = (each.seq for each in fleet.devices.values())
    with fleet.store.write() as connection:
        presence.mark_seen(connection, {one: AT + 1, two: AT + 2})
        presence.mark_seen(connection, {one: AT + 10})
    assert last_seen(fleet) == {one: (AT + 10, AT + 1), two: (AT + 2, fleet.now)}


def test_only_organizations_of_devices_long_silent_are_told(fleet: Simulation) -> None:
    one, two = (each.seq for each in fleet.devices.values())
    with fleet.store.write() as connection:
        connection.execute(
            update(t.device_state).where(t.device_state.c.device_seq == one).values(last_seen=None)
        )
        assert presence.returned(connection, {one: AT, two: AT}, 1) == [ORGANIZATION]
        assert presence.returned(connection, {two: AT}, 1) == []


@pytest.mark.parametrize(("seen_s", "expected"), [(None, True), (3600, True), (10, False)])
def test_who_was_silent_is_back_by_its_report_too(
    fleet: Simulation, inlet: Inlet, woken: list[None], seen_s: int | None, expected: bool
) -> None:
    """Of a device that reports before its poll is written nobody else would say so."""
    seq, now = fleet.devices["till-1"].seq, int(time.time())
    fleet.commit(manifest("1.0.0", "  strategy: immediate\n"))
    with fleet.store.write() as connection:
        last_seen = None if seen_s is None else now - seen_s
        connection.execute(update(t.device_state).values(last_seen=last_seen))
        connection.execute(delete(t.dirty_deployments))
    woken.clear()
    inlet.seen(Traces(seq), now)

    async def report() -> None:
        answered = handed_in(inlet, seq, Report("k", 1, 0, None, versions={}))
        inlet.start()
        await asyncio.wait_for(answered, 30)

    asyncio.run(report())
    inlet.stop()
    with fleet.store.read() as connection:
        dirty = connection.execute(select(t.dirty_deployments.c.deployment)).scalars().all()
    assert (bool(woken), dirty) == (expected, ["app"] * expected)


def test_presence_goes_on_in_pieces_of_their_own_transaction(
    fleet: Simulation, inlet: Inlet, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = (each.seq for each in fleet.devices.values())
    real = presence.mark_seen

    def fails_for_one(connection: Connection, seen: dict[int, int]) -> None:
        if one in seen:
            raise RuntimeError("a bug")
        real(connection, seen)

    monkeypatch.setattr(inlets, "SEEN_AT_ONCE", 1)
    monkeypatch.setattr(presence, "mark_seen", fails_for_one)
    for seq in (one, two):
        inlet.seen(Traces(seq), AT + 5)
    flush(inlet)
    seen = last_seen(fleet)
    assert (seen[one][0], seen[two][0]) == (fleet.now, AT + 5)


def handed_in(inlet: Inlet, seq: int, report: Report) -> "asyncio.Future[Heard]":
    """Ends once the report is acknowledged."""
    answered: asyncio.Future[Heard] = asyncio.get_running_loop().create_future()

    def tell(heard: Heard, error: Exception | None) -> None:
        assert error is None
        answered.set_result(heard)

    inlet.hand_in(seq, [report], tell)
    return answered


async def acknowledged(inlet: Inlet, seq: int, report: Report) -> None:
    await asyncio.wait_for(handed_in(inlet, seq, report), 30)


def test_nobody_waits_for_long_for_a_writer_that_hangs_and_what_was_given_up_is_not_begun(
    fleet: Simulation, inlet: Inlet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who was asked to come again may have done so, and what is old must not undo what is new."""
    monkeypatch.setattr(letters, "PATIENCE_S", 0.2)
    monkeypatch.setattr(letters, "SWEEP_S", 0.05)
    written: list[str] = []

    async def come_one_after_the_other() -> None:
        inlet.start()
        with fleet.store.write():
            given_up = [inlet.write(lambda _: written.append("is in hand"))]
            while inlet.waiting:  # until the writer has it, and waits for the store
                await asyncio.sleep(0.01)
            given_up += [inlet.write(lambda _: written.append("waits")) for _ in range(3)]
            answers = await asyncio.wait_for(asyncio.gather(*given_up, return_exceptions=True), 10)
            assert all(isinstance(each, AWAY) for each in answers), answers
        await asyncio.wait_for(inlet.write(lambda _: written.append("comes again")), 10)

    asyncio.run(come_one_after_the_other())
    inlet.stop()
    assert written == ["comes again"]


def test_what_follows_a_report_that_could_not_be_taken_in_waits_until_it_can(
    fleet: Simulation, inlet: Inlet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a later number in the store it would count as told, and be lost."""
    one, two = (device.seq for device in fleet.devices.values())
    told: list[tuple[int, int, str]] = []

    def take_in(connection: Connection, now: int, reports: Any, silent_since: int) -> Any:
        if any((seq, each.report_seq) == (one, 1) for seq, each in reports):
            raise RuntimeError("a bug")
        return taken_in(connection, now, reports, silent_since)

    async def come_at_once() -> None:
        loop = asyncio.get_running_loop()
        over = loop.create_future()

        def note(seq: int, number: int, _: Heard | None, error: Exception | None) -> None:
            told.append((seq, number, "failed" if error else "acknowledged"))
            if len(told) == 3:
                over.set_result(None)

        for seq, number in ((one, 1), (two, 1), (one, 2)):
            inlet.hand_in(seq, [Report("j", number, 0)], partial(note, seq, number))
        inlet.start()
        await asyncio.wait_for(over, 30)

    taken_in = ingest.take_in
    monkeypatch.setattr(ingest, "take_in", take_in)
    asyncio.run(come_at_once())
    assert told == [(one, 1, "failed"), (two, 1, "acknowledged"), (one, 2, "failed")]


def fail_once(monkeypatch: pytest.MonkeyPatch, module: Any, name: str) -> threading.Event:
    """The first call of the function raises; returns what is set once it has."""
    real, has_failed = getattr(module, name), threading.Event()

    def fails_first(*given: Any) -> Any:
        if has_failed.is_set():
            return real(*given)
        has_failed.set()
        raise RuntimeError("the disk is full")

    monkeypatch.setattr(module, name, fails_first)
    return has_failed


def test_presence_that_could_not_be_written_is_written_with_the_next_flush(
    fleet: Simulation, inlet: Inlet, monkeypatch: pytest.MonkeyPatch
) -> None:
    seq = fleet.devices["till-1"].seq
    has_failed = fail_once(monkeypatch, presence, "mark_seen")
    inlet.seen(Traces(seq), AT + 5)
    inlet.start()
    assert has_failed.wait(30)
    inlet.stop()
    assert last_seen(fleet)[seq][0] == AT + 5


def test_a_clock_that_could_not_be_begun_begins_with_the_next_flush(
    fleet: Simulation, inlet: Inlet, monkeypatch: pytest.MonkeyPatch
) -> None:
    seq = fleet.devices["till-1"].seq
    fleet.commit(manifest("1.0.0", "  strategy: immediate\n"))
    with fleet.store.write() as connection:
        connection.execute(update(t.targets).values(granted_at=AT, fetched_at=None))
    has_failed = fail_once(monkeypatch, ingest, "mark_fetched")
    inlet.fetched(seq, ["app"])
    inlet.start()
    assert has_failed.wait(30)
    # Its letter is acknowledged in spite of what failed beside it.
    asyncio.run(acknowledged(inlet, seq, Report("k", 1, 0, None, versions={})))
    inlet.stop()
    with fleet.store.read() as connection:
        rows = select(t.targets.c.device_seq).where(t.targets.c.fetched_at.is_not(None))
        assert connection.execute(rows).scalars().all() == [seq]


def test_what_comes_while_a_flush_waits_for_the_store_goes_with_it(
    fleet: Simulation, inlet: Inlet
) -> None:
    *first, late = enrol_many(fleet, WORTH_A_TURN + 1)

    async def story() -> None:
        inlet.start()
        with fleet.store.write():
            answers = [handed_in(inlet, seq, Report("j", 1, 0)) for seq in first]
            while inlet.waiting:  # until the writer has them
                await asyncio.sleep(0.001)
            answers.append(handed_in(inlet, late, Report("j", 1, 0)))
        await asyncio.wait_for(asyncio.gather(*answers), 30)

    asyncio.run(story())
    assert sum(inlet.tally.flushes.counts) == 1


def test_the_clocks_of_many_documents_are_begun_in_a_turn_too(
    fleet: Simulation, inlet: Inlet, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns: list[int] = []

    class Noted(Turn):
        def take(self, loop: asyncio.AbstractEventLoop) -> None:
            turns.append(sum(inlet.tally.flushes.counts))
            super().take(loop)

    async def story() -> None:
        one, *others = enrol_many(fleet, WORTH_A_TURN + 1)
        inlet.start()
        await acknowledged(inlet, one, Report("j", 1, 0))
        for seq in others:
            inlet.fetched(seq, ["app"])
        async with asyncio.timeout(30):
            while not turns:
                await asyncio.sleep(0.01)

    monkeypatch.setattr(letterbox, "Turn", Noted)
    asyncio.run(story())
    assert turns == [1]  # the letter that came alone was written without one


def test_the_clock_of_what_was_left_out_of_a_document_does_not_begin(fleet: Simulation) -> None:
    seq = fleet.devices["till-1"].seq
    fleet.commit(*(manifest("1.0.0", "  strategy: immediate\n", name) for name in ("app", "db")))
    with fleet.store.write() as connection:
        connection.execute(update(t.targets).values(granted_at=AT, fetched_at=None, deadline=None))
        ingest.mark_fetched(connection, AT, {(seq, "db")})
        begun = connection.execute(
            select(t.targets.c.device_seq, t.targets.c.component, t.targets.c.deadline).where(
                t.targets.c.fetched_at.is_not(None)
            )
        ).all()
    assert [tuple(row) for row in begun] == [(seq, "db", AT + 3600)]


def test_who_is_seen_again_is_written_once_and_with_the_later_time(
    fleet: Simulation, inlet: Inlet
) -> None:
    one, two = (Traces(each.seq) for each in fleet.devices.values())
    for of, at in ((one, AT + 5), (two, AT + 6), (one, AT + 7), (Traces(two.device_seq), AT + 8)):
        inlet.seen(of, at)
    assert len(inlet._seen) == 3
    flush(inlet)
    seen = last_seen(fleet)
    assert (seen[one.device_seq][0], seen[two.device_seq][0]) == (AT + 7, AT + 8)
    assert not (one.is_seen or two.is_seen)


class Speaking(deque[Traces]):
    """What waits to be written of devices that speak all the while, also while it is taken up."""

    def popleft(self) -> Traces:
        of = super().popleft()
        self.append(Traces(of.device_seq + 1000))
        return of


def test_who_speaks_while_it_is_taken_up_is_seen_the_next_time() -> None:
    waiting = Speaking(Traces(seq) for seq in range(100))
    assert list(_last_seen(waiting)) == list(range(100))
    assert [of.device_seq for of in waiting] == list(range(1000, 1100))


class Polled(dict[int, int]):
    """Devices that are polled for all the while: each time one is taken up, two others come."""

    def pop(self, key: int, *default: Any) -> Any:
        self.update({key + 1000: 1, key + 2000: 1})
        return super().pop(key, *default)

    def popitem(self) -> tuple[int, int]:
        self[len(self) + 1000] = 1
        return super().popitem()


def test_all_that_was_there_is_taken_up_whoever_comes_meanwhile() -> None:
    seen = Polled(dict.fromkeys(range(100), 0))
    assert emptied(seen) == dict.fromkeys(range(100), 0)
    assert len(seen) == 200
