"""What a process does when something was told, and when it does not know what was."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete
from sqlalchemy.exc import OperationalError

from tests.reconciler.simulation import ORGANIZATION, Simulation
from tests.server.begun import begin
from towline.reconciler.server import hearing as hearings
from towline.reconciler.server.doorbell import Doorbell
from towline.reconciler.server.fleets import Fleets, FleetView
from towline.reconciler.server.hearing import Hearing
from towline.reconciler.server.sessions import Session, Sessions
from towline.reconciler.store import outbox
from towline.reconciler.store import tables as t
from towline.reconciler.store.outbox import Told
from towline.schemas.enrolment import secret_digest


class Process:
    """What hears in a process, with two devices whose sessions are in memory."""

    def __init__(self, folder: Path, *, is_open: bool = True) -> None:
        self.fleet = Simulation(folder, devices=2)
        self.devices = [device.seq for device in self.fleet.devices.values()]
        self.doorbell, self.sessions = Doorbell(), Sessions()
        self.woken = 0
        view = FleetView(ORGANIZATION, lambda: None, tuple, dict, self.wake)
        self.hearing = Hearing(
            self.fleet.store, self.doorbell, self.sessions, Fleets([view]), is_open=is_open
        )

    def wake(self) -> None:
        self.woken += 1

    def rung(self, *told: Told, is_anything: bool = False) -> list[int]:
        """Which devices' bells ring by what is told."""

        async def hear() -> list[int]:
            self.doorbell.open()
            for each in told:
                self.hearing.of_others(each)
            if is_anything:
                self.hearing.of_anything()
            await asyncio.sleep(0.01)
            return [device for device in self.devices if self.doorbell.count(device)]

        return asyncio.run(hear())


@pytest.mark.parametrize(
    ("told", "rings", "wakes"),
    [
        (Told(devices={1}), [1], 0),
        (Told(everyone={ORGANIZATION}), [1, 2], 0),
        (Told(everyone={"other"}), [], 0),
        (Told(is_work=True), [], 1),
        (Told(repositories={ORGANIZATION, "other"}), [], 1),
    ],
    ids=["devices", "everyone", "another's", "work", "git"],
)
def test_what_was_told_is_done(tmp_path: Path, told: Told, rings: list[int], wakes: int) -> None:
    process = Process(tmp_path)
    assert process.devices == [1, 2]
    assert (process.rung(told), process.woken) == (rings, wakes)


def test_a_session_ends_where_another_one_took_its_place(tmp_path: Path) -> None:
    process = Process(tmp_path)
    for device in process.devices:
        begin(process.sessions, f"t{device}", Session(device, "x", "k", 99, ORGANIZATION))
    process.rung(Told(sessions={1: secret_digest("another")}))
    assert process.sessions.find(b"t1", 0) is None
    assert process.sessions.find(b"t2", 0) is not None


def test_who_knows_nothing_looks_at_all_of_it_anew(tmp_path: Path) -> None:
    process = Process(tmp_path)
    begin(process.sessions, "t1", Session(1, "x", "k", 99, ORGANIZATION))
    with process.fleet.store.write() as connection:
        connection.execute(delete(t.sessions))
    assert process.rung(is_anything=True) == [1, 2]
    assert process.woken
    assert process.sessions.find(b"t1", 0) is None


def test_a_bell_that_cannot_ring_now_rings_as_soon_as_it_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was committed stands, and who is at the bells must hear of it."""
    monkeypatch.setattr(hearings, "AGAIN_S", 0.01)
    process = Process(tmp_path)
    store = process.fleet.store
    read, tries = store.read, iter(range(3))

    def away() -> Any:
        if next(tries, None) is None:
            return read()
        raise OperationalError("SELECT", {}, Exception("the database is away"))

    monkeypatch.setattr(store, "read", away)
    store.hear(process.hearing.of_own)

    async def story() -> None:
        process.doorbell.open()
        with store.write() as connection:
            outbox.ring_everyone(connection, ORGANIZATION)
            outbox.wake(connection)
        assert process.woken
        while not all(map(process.doorbell.count, process.devices)):
            await asyncio.sleep(0.01)

    asyncio.run(asyncio.wait_for(story(), 20))
    assert next(tries, None) is None


def test_a_process_that_only_reconciles_keeps_nothing_of_devices(tmp_path: Path) -> None:
    process = Process(tmp_path, is_open=False)
    assert process.rung(Told(devices={1}, is_work=True), is_anything=True) == []
    assert process.woken
