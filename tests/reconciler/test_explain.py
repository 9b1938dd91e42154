"""`explain` tells one device's story: what runs, what is wanted, what blocks."""

from pathlib import Path
from typing import Any

from tests.reconciler.simulation import ORGANIZATION, Simulation, manifest
from towline.reconciler.explain import explain_device

CANARY = "  strategy: canary\n  order: name\n"


def story(fleet: Simulation, name: str) -> dict[str, Any]:
    with fleet.store.read() as connection:
        found = explain_device(connection, ORGANIZATION, name, fleet.now)
    assert found is not None
    return found


def test_the_device_that_failed_and_the_one_that_waits_know_why(tmp_path: Path) -> None:
    fleet = Simulation(tmp_path, devices=3)
    fleet.commit(manifest("1.0.0", "  strategy: immediate\n"))
    fleet.step(4)
    fleet.devices["till-1"].breaks = lambda version: version == "2.0.0"
    fleet.commit(manifest("2.0.0", CANARY))
    fleet.step(3)
    failed, waiting = story(fleet, "till-1"), story(fleet, "till-3")
    assert "app: it runs 1.0.0." in failed["text"]
    assert "wants 2.0.0, by commit 000000000000 of Ada" in failed["text"]
    assert "rolled back by itself: HealthCheckFailed" in failed["text"]
    assert "not selected yet; the run is paused: ThresholdNotMet" in waiting["text"]
    assert waiting["components"][0]["desired"] == "2.0.0"


def test_a_device_that_is_home_has_nothing_that_blocks(tmp_path: Path) -> None:
    fleet = Simulation(tmp_path, devices=1)
    fleet.commit(manifest("1.0.0"))
    fleet.step(4)
    assert story(fleet, "till-1")["components"][0]["blocks"] == ""


def test_there_is_no_story_of_an_unknown_device(tmp_path: Path) -> None:
    fleet = Simulation(tmp_path, devices=1)
    with fleet.store.read() as connection:
        assert explain_device(connection, ORGANIZATION, "ghost", fleet.now) is None
