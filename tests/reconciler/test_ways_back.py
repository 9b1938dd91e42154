"""Rollback of a run: each device goes back to what it came from."""

from pathlib import Path

import pytest

from tests.reconciler.looking import (
    AT_ONCE,
    ONE,
    component,
    finish,
    go_online,
    granted,
    holds,
    installed,
    known_bad,
    outcome,
    say,
    ship,
    state,
    target,
    told,
    twin,
)
from tests.reconciler.simulation import Simulation, checksum, manifest
from towline.reconciler.acts import NotAllowed
from towline.schemas.reports import Installed
from towline.schemas.states import TargetState, Verb


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Simulation:
    """Three devices; the first runs 1.0.0, the others 1.1.0."""
    fleet = Simulation(tmp_path_factory.mktemp("base"), devices=3)
    ship(fleet, manifest("1.0.0", AT_ONCE))
    ship(fleet, manifest("1.1.0", AT_ONCE + "  filters: {devices: [till-2, till-3]}\n"))
    assert installed(fleet) == {"till-1": "1.0.0", "till-2": "1.1.0", "till-3": "1.1.0"}
    return fleet


@pytest.fixture
def fleet(base: Simulation, tmp_path: Path) -> Simulation:
    return twin(base, tmp_path)


def two(more: str = AT_ONCE) -> str:
    return manifest("2.0.0", more)


def test_each_device_goes_back_to_what_it_came_from(fleet: Simulation) -> None:
    ship(fleet, two())
    assert set(installed(fleet).values()) == {"2.0.0"}
    fleet.verb(Verb.ROLLBACK)
    assert state(fleet) == ("in_progress", "RollingBack")
    assert told(fleet, "till-1") == ("rollback", "1.0.0")
    assert told(fleet, "till-3") == ("rollback", "1.1.0")
    found = component(fleet, "till-3")
    assert found is not None
    assert (found.deployment, found.attempt) == (str(fleet.run().id), 2)
    assert (found.sha256, found.statement.payload != b"") == (checksum("1.1.0"), True)
    fleet.step(3)
    assert installed(fleet) == {"till-1": "1.0.0", "till-2": "1.1.0", "till-3": "1.1.0"}
    assert state(fleet) == ("failed", "RolledBack")
    assert outcome(fleet, "till-2") == ["rolled_back", "RolledBackByUser"]


def test_who_went_back_is_then_told_to_keep_it(fleet: Simulation) -> None:
    ship(fleet, two())
    fleet.verb(Verb.ROLLBACK)
    fleet.step(3)
    assert told(fleet, "till-1") == ("keep", "1.0.0")
    assert told(fleet, "till-2") == ("keep", "1.1.0")
    fleet.step(3)
    assert installed(fleet)["till-2"] == "1.1.0"


def test_going_back_makes_no_package_known_as_bad(fleet: Simulation) -> None:
    ship(fleet, two())
    fleet.verb(Verb.ROLLBACK)
    fleet.step(3)
    assert known_bad(fleet) == 0
    fleet.verb(Verb.RETRY)
    fleet.step(5)
    assert set(installed(fleet).values()) == {"2.0.0"}


def test_what_downloads_is_skipped_and_what_installs_finishes_and_goes_back(
    fleet: Simulation,
) -> None:
    fleet.commit(two())
    say(fleet, "till-1", TargetState.DOWNLOADING)
    installing = say(fleet, "till-2", TargetState.DOWNLOADING, TargetState.INSTALLING)
    go_online(fleet, "till-2", False)
    fleet.verb(Verb.ROLLBACK)
    assert outcome(fleet, "till-1") == ["skipped", "Cancelled"]
    assert outcome(fleet, "till-3") == ["skipped", "Cancelled"]
    fleet.step(2)
    assert told(fleet, "till-1") == ("keep", "1.0.0")
    assert state(fleet) == ("in_progress", "RollingBack")
    finish(fleet, "till-2", installing)
    go_online(fleet, "till-2")
    fleet.settle()
    assert told(fleet, "till-2") == ("rollback", "1.1.0")
    fleet.step(3)
    assert installed(fleet)["till-2"] == "1.1.0"
    assert state(fleet) == ("failed", "RolledBack")


def test_an_install_that_is_late_goes_back_even_after_the_run_ended(fleet: Simulation) -> None:
    fleet.commit(two(AT_ONCE + "  deviceTimeout: 5m\n"))
    installing = say(fleet, "till-2", TargetState.DOWNLOADING, TargetState.INSTALLING)
    go_online(fleet, "till-2", False)
    fleet.verb(Verb.ROLLBACK)
    fleet.step(8)
    assert state(fleet) == ("failed", "RolledBack")
    go_online(fleet, "till-2")
    finish(fleet, "till-2", installing)
    fleet.step(3)
    assert installed(fleet)["till-2"] == "1.1.0"


def test_a_late_word_that_it_went_back_counts(fleet: Simulation) -> None:
    ship(fleet, two(AT_ONCE + "  deviceTimeout: 5m\n"))
    fleet.verb(Verb.ROLLBACK)
    found = say(fleet, "till-2", TargetState.INSTALLING)
    go_online(fleet, "till-2", False)
    fleet.step(8)
    assert outcome(fleet, "till-2") == ["failed", "TimedOut"]
    finish(fleet, "till-2", found)
    assert outcome(fleet, "till-2") == ["rolled_back", "RolledBackByUser"]


def test_a_first_install_has_nothing_to_go_back_to(tmp_path: Path) -> None:
    fleet = Simulation(tmp_path, devices=2)
    ship(fleet, manifest("1.0.0", AT_ONCE))
    fleet.verb(Verb.ROLLBACK)
    assert outcome(fleet, "till-1") == ["failed", "NoPrevious"]
    assert state(fleet) == ("failed", "RolledBack")
    fleet.step(2)
    assert installed(fleet)["till-1"] == "1.0.0"


def test_what_no_run_ever_offered_cannot_be_gone_back_to(tmp_path: Path) -> None:
    fleet = Simulation(tmp_path, devices=1)
    fleet.devices["till-1"].installed["app"] = Installed("0.9.0", "ee" * 32)
    ship(fleet, manifest("1.0.0", AT_ONCE))
    fleet.verb(Verb.ROLLBACK)
    assert outcome(fleet, "till-1") == ["failed", "NoPrevious"]
    assert state(fleet) == ("failed", "RolledBack")


def test_a_device_that_is_away_goes_back_when_it_returns_though_the_run_is_over(
    fleet: Simulation,
) -> None:
    ship(fleet, two(AT_ONCE + "  offline: {after: 10m}\n"))
    go_online(fleet, "till-2", False)
    fleet.verb(Verb.ROLLBACK)
    fleet.step(5)
    assert state(fleet) == ("in_progress", "RollingBack")
    fleet.step(10)
    assert state(fleet) == ("failed", "RolledBack")
    assert outcome(fleet, "till-2") == ["skipped", "OfflineDeferred"]
    go_online(fleet, "till-2")
    fleet.step(3)
    assert installed(fleet)["till-2"] == "1.1.0"
    assert outcome(fleet, "till-2") == ["rolled_back", "RolledBackByUser"]


def test_a_device_that_left_the_filters_and_is_away_does_not_keep_the_run_from_its_end(
    fleet: Simulation,
) -> None:
    more = AT_ONCE + "  offline: {after: 10m}\n"
    ship(fleet, two(more))
    go_online(fleet, "till-2", False)
    fleet.verb(Verb.ROLLBACK)
    fleet.commit(two(more + "  filters: {exclude: [till-2]}\n"))
    fleet.step(15)
    assert state(fleet) == ("failed", "RolledBack")


def test_a_device_that_left_the_filters_goes_back_all_the_same(fleet: Simulation) -> None:
    ship(fleet, two(ONE))
    fleet.step(4)
    fleet.verb(Verb.ROLLBACK)
    fleet.commit(two(ONE + "  filters: {exclude: [till-3]}\n"))
    fleet.step(6)
    assert installed(fleet)["till-3"] == "1.1.0"


def test_slots_are_kept_on_the_way_back(fleet: Simulation) -> None:
    ship(fleet, two(ONE), steps=8)
    fleet.verb(Verb.ROLLBACK)
    for n in range(1, 4):
        assert granted(fleet) == [f"till-{n}"]
        fleet.step()
    fleet.step()
    assert state(fleet) == ("failed", "RolledBack")


def test_the_budget_is_kept_on_the_way_back(tmp_path: Path) -> None:
    fleet = Simulation(tmp_path, devices=0)
    for n in (1, 2):
        fleet.enrol(f"till-{n}", store="s1")
    fleet.enrol("till-3", store="s2")
    ship(fleet, manifest("1.0.0", AT_ONCE))
    ship(fleet, two(AT_ONCE + "  disruptionBudget: {groupBy: store, maxUnavailable: 1}\n"), 8)
    fleet.verb(Verb.ROLLBACK)
    assert len(granted(fleet)) == 2
    assert "till-3" in granted(fleet)
    fleet.step(6)
    assert set(installed(fleet).values()) == {"1.0.0"}


def test_a_pause_stops_the_way_back_until_resume(fleet: Simulation) -> None:
    ship(fleet, two(ONE), steps=8)
    fleet.verb(Verb.ROLLBACK)
    fleet.verb(Verb.PAUSE)
    assert (fleet.run().status, granted(fleet)) == ("paused", [])
    fleet.step(3)
    assert set(installed(fleet).values()) == {"2.0.0"}
    fleet.verb(Verb.RESUME)
    assert state(fleet) == ("in_progress", "RollingBack")
    fleet.step(8)
    assert installed(fleet) == {"till-1": "1.0.0", "till-2": "1.1.0", "till-3": "1.1.0"}


def test_a_rollback_ends_the_holds_of_its_run(fleet: Simulation) -> None:
    fleet.devices["till-2"].breaks = lambda version: version == "2.0.0"
    ship(fleet, two(ONE))
    assert state(fleet) == ("paused", "ThresholdNotMet")
    fleet.verb(Verb.ROLLBACK)
    assert holds(fleet) == []
    fleet.step(4)
    assert state(fleet) == ("failed", "RolledBack")
    assert installed(fleet)["till-1"] == "1.0.0"
    assert outcome(fleet, "till-2") == ["rolled_back", "HealthCheckFailed"]
    assert outcome(fleet, "till-3") == ["skipped", "Cancelled"]


def test_on_failure_rollback_sends_the_rest_back_by_policy(fleet: Simulation) -> None:
    fleet.devices["till-2"].breaks = lambda version: version == "2.0.0"
    ship(fleet, two(ONE + "  onFailure: rollback\n"), steps=7)
    assert state(fleet) == ("failed", "RolledBack")
    assert outcome(fleet, "till-1") == ["rolled_back", "RolledBackByPolicy"]
    assert outcome(fleet, "till-2") == ["rolled_back", "HealthCheckFailed"]
    assert installed(fleet) == {"till-1": "1.0.0", "till-2": "1.1.0", "till-3": "1.1.0"}


def test_a_completed_run_can_be_rolled_back_and_a_run_going_back_cannot(fleet: Simulation) -> None:
    ship(fleet, two())
    fleet.verb(Verb.ROLLBACK)
    with pytest.raises(NotAllowed, match="going back already"):
        fleet.verb(Verb.ROLLBACK)


def test_a_new_commit_takes_over_from_a_run_that_goes_back(fleet: Simulation) -> None:
    ship(fleet, two(ONE), steps=8)
    fleet.verb(Verb.ROLLBACK)
    way = say(fleet, "till-1", TargetState.INSTALLING)
    go_online(fleet, "till-1", False)
    fleet.commit(manifest("3.0.0", AT_ONCE))
    assert outcome(fleet, "till-2", "2.0.0") == ["skipped", "Superseded"]
    assert told(fleet, "till-1") == ("rollback", "1.0.0")
    finish(fleet, "till-1", way)
    go_online(fleet, "till-1")
    fleet.step(5)
    assert set(installed(fleet).values()) == {"3.0.0"}
    assert target(fleet, "till-1").from_version == "1.0.0"
    assert outcome(fleet, "till-1", "2.0.0") == ["rolled_back", "RolledBackByUser"]


def test_a_device_that_was_away_when_the_run_ended_belongs_to_the_next_run(
    fleet: Simulation,
) -> None:
    more = AT_ONCE + "  offline: {after: 10m}\n"
    ship(fleet, two(more))
    go_online(fleet, "till-2", False)
    fleet.verb(Verb.ROLLBACK)
    fleet.step(14)
    fleet.commit(manifest("3.0.0", more))
    assert outcome(fleet, "till-2", "2.0.0") == ["skipped", "Superseded"]
    go_online(fleet, "till-2")
    fleet.step(5)
    assert installed(fleet)["till-2"] == "3.0.0"


def test_a_cancelled_way_back_leaves_each_device_where_it_is(fleet: Simulation) -> None:
    ship(fleet, two(ONE), steps=8)
    fleet.verb(Verb.ROLLBACK)
    fleet.step()
    fleet.verb(Verb.CANCEL)
    fleet.step(4)
    assert state(fleet) == ("cancelled", "CancelledByUser")
    assert installed(fleet) == {"till-1": "1.0.0", "till-2": "2.0.0", "till-3": "2.0.0"}


def test_a_run_that_has_not_begun_has_nothing_to_go_back_from(fleet: Simulation) -> None:
    fleet.commit(two(AT_ONCE + "  start: manual\n"))
    with pytest.raises(NotAllowed):
        fleet.verb(Verb.ROLLBACK)
