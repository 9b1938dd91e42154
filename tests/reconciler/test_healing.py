"""After completion: late joiners and drifted devices, within a gate and a limit."""

from pathlib import Path

import pytest

from tests.reconciler.looking import (
    AT_ONCE,
    DAY_S,
    ONE,
    drift,
    go_online,
    granted,
    holds,
    installed,
    outcome,
    ship,
    target,
    told,
    twin,
)
from tests.reconciler.simulation import Simulation, manifest
from towline.schemas.states import Verb


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Simulation:
    """Three devices that completed 1.0.0."""
    fleet = Simulation(tmp_path_factory.mktemp("base"), devices=3)
    ship(fleet, manifest("1.0.0", AT_ONCE))
    assert fleet.run().status == "completed"
    return fleet


@pytest.fixture
def fleet(base: Simulation, tmp_path: Path) -> Simulation:
    return twin(base, tmp_path)


def one(more: str = AT_ONCE) -> str:
    return manifest("1.0.0", more)


def join(fleet: Simulation, *names: str) -> None:
    for name in names:
        fleet.enrol(name)
    fleet.settle()


def next_day(fleet: Simulation) -> None:
    fleet.now += DAY_S
    fleet.step()


def test_a_drifted_device_gets_the_release_again(fleet: Simulation) -> None:
    drift(fleet, "till-2")
    assert fleet.run().status == "completed"
    assert granted(fleet) == ["till-2"]
    fleet.step(2)
    assert installed(fleet)["till-2"] == "1.0.0"
    assert outcome(fleet, "till-2") == ["completed", ""]


def test_without_self_heal_nobody_is_healed_and_nobody_joins(fleet: Simulation) -> None:
    fleet.commit(one(AT_ONCE + "  selfHeal: false\n"))
    drift(fleet, "till-2")
    join(fleet, "till-9")
    fleet.step(3)
    assert installed(fleet)["till-2"] == "0.0.1"
    assert "till-9" not in installed(fleet)


def test_healing_keeps_max_concurrent(fleet: Simulation) -> None:
    fleet.commit(one(ONE))
    drift(fleet, "till-1", "till-2", "till-3")
    assert len(granted(fleet)) == 1
    fleet.step(6)
    assert set(installed(fleet).values()) == {"1.0.0"}


def test_a_device_that_is_away_is_healed_when_it_is_back(fleet: Simulation) -> None:
    fleet.commit(one(AT_ONCE + "  paused: true\n"))
    drift(fleet, "till-2")
    go_online(fleet, "till-2", False)
    fleet.step(5)
    fleet.commit(one())
    assert granted(fleet) == []
    assert outcome(fleet, "till-2") == ["completed", ""]
    go_online(fleet, "till-2")
    fleet.step(3)
    assert installed(fleet)["till-2"] == "1.0.0"


def test_a_device_that_left_the_filters_is_not_healed(fleet: Simulation) -> None:
    fleet.commit(one(AT_ONCE + "  filters: {exclude: [till-2]}\n"))
    drift(fleet, "till-2")
    fleet.step(2)
    assert installed(fleet)["till-2"] == "0.0.1"


def test_after_the_third_heal_a_drift_is_a_loop(fleet: Simulation) -> None:
    for _ in range(3):
        drift(fleet, "till-2")
        fleet.step(3)
        assert installed(fleet)["till-2"] == "1.0.0"
        next_day(fleet)
    drift(fleet, "till-2")
    assert outcome(fleet, "till-2") == ["failed", "DriftLoop"]
    fleet.step(3)
    assert (installed(fleet)["till-2"], fleet.run().status) == ("0.0.1", "completed")


def test_a_device_is_healed_at_most_once_a_day(fleet: Simulation) -> None:
    drift(fleet, "till-2")
    fleet.step(3)
    drift(fleet, "till-2")
    fleet.step(2)
    assert (installed(fleet)["till-2"], granted(fleet)) == ("0.0.1", [])
    due = fleet.run().next_due
    assert due == target(fleet, "till-2").healed_at + DAY_S
    fleet.now = due - 60
    fleet.step(3)
    assert installed(fleet)["till-2"] == "1.0.0"


def test_more_than_ten_within_an_hour_wait_for_a_person(fleet: Simulation) -> None:
    join(fleet, *(f"late-{n:02}" for n in range(12)))
    fleet.step(2)
    assert (len(installed(fleet)), holds(fleet)) == (3, ["SelfHealHeld"])
    fleet.verb(Verb.APPROVE)
    assert holds(fleet) == []
    fleet.step(3)
    assert len(installed(fleet)) == 15


def test_an_hour_later_ten_more_may_join(fleet: Simulation) -> None:
    join(fleet, *(f"late-{n:02}" for n in range(10)))
    fleet.step(3)
    fleet.now += 3600
    fleet.step()
    join(fleet, "later")
    fleet.step(3)
    assert (len(installed(fleet)), holds(fleet)) == (14, [])


def test_failures_among_the_last_verdicts_hold_and_approve_lets_it_go_on(
    fleet: Simulation,
) -> None:
    for name in ("late-1", "late-2", "late-3"):
        fleet.enrol(name).breaks = lambda _version: True
    fleet.commit(one(ONE))
    fleet.step(3)
    assert holds(fleet) == ["SelfHealHeld"]
    tried = [
        name
        for name in fleet.targets()
        if name.startswith("late") and target(fleet, name).granted_at
    ]
    assert len(tried) == 1
    fleet.devices["late-2"].breaks = lambda _version: False
    fleet.verb(Verb.APPROVE)
    fleet.step(2)
    assert installed(fleet)["late-2"] == "1.0.0"


def test_one_failure_in_twenty_verdicts_does_not_hold(tmp_path: Path) -> None:
    fleet = Simulation(tmp_path, devices=20)
    ship(fleet, one())
    fleet.enrol("late-1").breaks = lambda _version: True
    fleet.settle()
    fleet.step(3)
    join(fleet, "late-2")
    fleet.step(3)
    assert holds(fleet) == []
    assert installed(fleet)["late-2"] == "1.0.0"


def test_it_is_no_drift_when_another_deployment_moved_the_device(fleet: Simulation) -> None:
    other = manifest("5.0.0", AT_ONCE + "  filters: {devices: [till-1]}\n")
    other = other.replace("{name: app}", "{name: rival, replaces: [app]}")
    fleet.commit(one(), other)
    fleet.step(4)
    assert installed(fleet)["till-1"] == "5.0.0"
    fleet.commit(one())
    fleet.step(3)
    assert installed(fleet)["till-1"] == "5.0.0"
    assert told(fleet, "till-1") == ("keep", "5.0.0")


def test_a_device_that_passes_to_an_older_deployment_keeps_what_it_gets_there(
    tmp_path: Path,
) -> None:
    fleet = Simulation(tmp_path, devices=2)

    def both(mine: str) -> tuple[str, str]:
        old = manifest("5.0.0", f"{AT_ONCE}  filters: {{devices: [till-1, {mine}]}}\n")
        new = manifest("1.0.0", f"{AT_ONCE}  filters: {{exclude: [till-1, {mine}]}}\n")
        return old.replace("{name: app}", "{name: aaa}"), new

    fleet.commit(*both("none"))
    fleet.step(4)
    assert installed(fleet) == {"till-1": "5.0.0", "till-2": "1.0.0"}
    fleet.commit(*both("till-2"))
    fleet.step(4)
    assert installed(fleet)["till-2"] == "5.0.0"
    assert told(fleet, "till-2") == ("keep", "5.0.0")
    assert outcome(fleet, "till-2", name="aaa") == ["completed", ""]
    assert target(fleet, "till-2", name="aaa").verified_at is not None


def test_a_pause_in_git_stops_healing(fleet: Simulation) -> None:
    fleet.commit(one(AT_ONCE + "  paused: true\n"))
    drift(fleet, "till-2")
    fleet.step(3)
    assert installed(fleet)["till-2"] == "0.0.1"
    fleet.commit(one())
    fleet.step(3)
    assert installed(fleet)["till-2"] == "1.0.0"


def test_who_joins_after_a_run_that_had_nothing_to_do_gets_the_release(tmp_path: Path) -> None:
    fleet = Simulation(tmp_path, devices=2)
    ship(fleet, one())
    fleet.commit(manifest("2.0.0", AT_ONCE + "  start: manual\n"))
    fleet.commit(one())
    assert (fleet.run().status, fleet.targets()) == ("completed", {})
    join(fleet, "late")
    fleet.step(3)
    assert installed(fleet)["late"] == "1.0.0"
