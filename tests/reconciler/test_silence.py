"""Who falls silent before the last batch makes room, though a pass looks at nobody until then."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from tests.reconciler.simulation import ORGANIZATION, Simulation, manifest
from towline.reconciler.ingest import mark_fetched
from towline.reconciler.store import silence
from towline.reconciler.store import tables as t
from towline.reconciler.store.changed_devices import unsettle
from towline.reconciler.store.presence import mark_seen
from towline.schemas.states import Verb

BATCH = "  strategy: {type: batches, batches: [{name: first, size: 40%}]}\n  order: name\n"
PATIENCE_S = 180
EVERY_S = 20

pytestmark = pytest.mark.both_engines


@pytest.fixture
def fleet(engine: str, tmp_path: Path) -> Simulation:
    """The first two of five are in an open batch and wait."""
    found = Simulation(tmp_path, devices=5)
    found.stages_at_once = False
    found.commit(manifest("1.0.0", BATCH + "  maxConcurrent: 1\n"))
    assert set(found.targets()) == {"till-1", "till-2"}
    return found


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Each look at all who wait."""
    found: list[Any] = []
    ask = silence._heard

    def noted(early: Any) -> Any:
        found.append(early)
        return ask(early)

    monkeypatch.setattr(silence, "_heard", noted)
    return found


def hear(fleet: Simulation, *silent: str) -> None:
    """A while passes, in which all others were heard of."""
    fleet.now += EVERY_S
    seen = {device.seq: fleet.now for name, device in fleet.devices.items() if name not in silent}
    with fleet.store.write() as connection:
        mark_seen(connection, seen)
    fleet.pass_over_all()


def deferred(fleet: Simulation) -> set[str]:
    return {name for name, state in fleet.targets().items() if state == "OfflineDeferred"}


def kept(fleet: Simulation) -> int | None:
    found: int | None = fleet.run().heard_since
    return found


def test_each_makes_room_when_its_own_patience_is_over(fleet: Simulation, looks: list[Any]) -> None:
    began = fleet.now
    late = 100  # the second one is heard of for so much longer
    while fleet.now < began + PATIENCE_S + late + EVERY_S:
        is_late = fleet.now < began + late
        hear(fleet, "till-1", *(() if is_late else ("till-2",)))
        over = {"till-1": began + PATIENCE_S, "till-2": began + late + PATIENCE_S}
        assert deferred(fleet) == {name for name, at in over.items() if fleet.now >= at}
    passes = (fleet.now - began) // EVERY_S
    assert 2 <= len(looks) <= 6 < passes


def test_nobody_is_looked_at_before_the_patience_with_the_quietest_is_over(
    fleet: Simulation, looks: list[Any]
) -> None:
    began = fleet.now
    while fleet.now < began + PATIENCE_S - EVERY_S:
        hear(fleet)
    assert (looks, kept(fleet)) == ([], began)
    hear(fleet)
    assert (len(looks), kept(fleet)) == (1, fleet.now)


def test_who_waits_again_may_have_been_silent_for_long(fleet: Simulation) -> None:
    device = fleet.devices["till-1"]
    run_seq = fleet.run().seq
    with fleet.store.write() as connection:
        staged = t.targets.update().where(t.targets.c.device_seq == device.seq)
        connection.execute(staged.values(staged_at=fleet.now))
    fleet.pass_over_all()
    with fleet.store.write() as connection:
        mark_fetched(connection, fleet.now, {(device.seq, "app")})
    for _ in range(PATIENCE_S // EVERY_S + 1):
        hear(fleet, device.name)
    granted = select(t.targets.c.granted_at).where(t.targets.c.device_seq == device.seq)
    with fleet.store.read() as connection:
        assert connection.execute(granted.where(t.targets.c.run_seq == run_seq)).scalar_one()
    assert not deferred(fleet), "its verdict is waited for"
    fleet.verb(Verb.PAUSE)
    assert deferred(fleet) == {device.name}


def test_a_time_by_another_clock_is_not_waited_for(fleet: Simulation) -> None:
    began = fleet.now
    with fleet.store.write() as connection:
        connection.execute(t.runs.update().values(heard_since=began + 3600))
    while fleet.now < began + PATIENCE_S:
        assert not deferred(fleet)
        hear(fleet, "till-1")
    assert deferred(fleet) == {"till-1"}


def test_now_and_then_everybody_is_looked_at(fleet: Simulation, looks: list[Any]) -> None:
    with fleet.store.write() as connection:
        unsettle(connection, ORGANIZATION)
    hear(fleet)
    assert len(looks) == 1
