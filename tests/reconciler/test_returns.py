"""Returns: a revert brings the fleet home, by three gates and without what held it before."""

from pathlib import Path

import pytest
from sqlalchemy import select, update

from tests.reconciler.looking import (
    AT_ONCE,
    ONE,
    component,
    finish,
    go_online,
    granted,
    installed,
    outcome,
    say,
    ship,
    state,
    target,
    told,
    twin,
)
from tests.reconciler.simulation import Simulation, manifest
from towline.reconciler.acts import Act, NotAllowed, act
from towline.reconciler.store import tables as t
from towline.schemas.states import TargetState, Verb

NIGHT = '  windows: [{allow: {days: Mon-Sun, start: "01:00", length: 4h}, timeZone: UTC}]\n'


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Simulation:
    """Four devices that completed 1.0.0 and then 2.0.0."""
    fleet = Simulation(tmp_path_factory.mktemp("base"), devices=4)
    ship(fleet, manifest("1.0.0", AT_ONCE))
    ship(fleet, manifest("2.0.0", AT_ONCE))
    return fleet


@pytest.fixture
def fleet(base: Simulation, tmp_path: Path) -> Simulation:
    return twin(base, tmp_path)


def batches(fleet: Simulation) -> list[tuple[str, int]]:
    with fleet.store.read() as connection:
        rows = connection.execute(
            select(t.batches.c.name, t.batches.c.size)
            .where(t.batches.c.run_seq == fleet.run().seq)
            .order_by(t.batches.c.number)
        )
        return [(row.name, row.size) for row in rows]


def through_windows(fleet: Simulation) -> None:
    run = fleet.run().id
    asked = Act(Verb.APPROVE, through_windows=True)
    act(fleet.store, "acme", run, asked, author="ops", reason="it burns", now=fleet.now)
    fleet.settle()


def test_a_revert_is_a_return_and_a_new_revision_is_none(fleet: Simulation) -> None:
    fleet.commit(manifest("1.0.0", AT_ONCE))
    assert fleet.run().is_return
    fleet.commit(manifest("4.0.0", AT_ONCE))
    assert not fleet.run().is_return


def test_a_revision_that_no_device_completed_does_not_return(fleet: Simulation) -> None:
    fleet.commit(manifest("3.0.0", AT_ONCE + "  start: manual\n"))
    fleet.commit(manifest("2.0.0", AT_ONCE))
    fleet.commit(manifest("3.0.0", AT_ONCE + "  start: manual\n"))
    assert not fleet.run().is_return
    assert state(fleet) == ("pending", "WaitingForStart")


def test_a_return_that_the_api_made_waits_for_its_start(fleet: Simulation) -> None:
    text = manifest("1.0.0", AT_ONCE + "  start: manual\n")
    assert "{name: app}" in text
    fleet.commit(text.replace("{name: app}", '{name: app, labels: {towline/api: "true"}}'))
    assert fleet.run().is_return
    assert state(fleet) == ("pending", "WaitingForStart")
    fleet.verb(Verb.START)
    assert state(fleet)[0] == "in_progress"


def test_what_comes_after_a_removal_is_no_return(fleet: Simulation) -> None:
    fleet.commit(manifest("3.0.0", AT_ONCE + "  start: manual\n"))
    fleet.commit()
    fleet.commit(manifest("2.0.0", AT_ONCE))
    assert not fleet.run().is_return


def test_a_return_goes_to_one_device_then_few_then_the_rest(tmp_path: Path) -> None:
    fleet = Simulation(tmp_path, devices=21)
    ship(fleet, manifest("1.0.0", AT_ONCE))
    ship(fleet, manifest("2.0.0", AT_ONCE))
    ship(fleet, manifest("1.0.0", AT_ONCE), steps=2)
    assert batches(fleet) == [("first", 1), ("few", 1)]
    fleet.step(5)
    assert batches(fleet) == [("first", 1), ("few", 1), ("rest", 19)]
    assert set(installed(fleet).values()) == {"1.0.0"}


def test_a_return_that_fails_on_its_first_device_harms_no_other(fleet: Simulation) -> None:
    for device in fleet.devices.values():
        device.breaks = lambda version: version == "1.0.0"
    ship(fleet, manifest("1.0.0", AT_ONCE))
    assert state(fleet) == ("paused", "ThresholdNotMet")
    assert sorted(fleet.targets().values()) == ["rolled_back"]


def test_a_return_skips_soak_approval_analysis_start_and_allow_downgrade(
    fleet: Simulation,
) -> None:
    plan = "{type: batches, batches: [{name: lab, size: 25%, soak: 8h, approval: manual}]}"
    figures = "{name: f, http: {url: 'http://q.example', value: a}, pass: '< 1', count: 2}"
    more = (
        f"  strategy: {plan}\n  soak: 8h\n  start: manual\n  analysis: [{figures}]\n"
        "  onFailure: pause\n"
    )
    ship(fleet, manifest("1.0.0", more), steps=7)
    assert fleet.run().status == "completed"
    assert set(installed(fleet).values()) == {"1.0.0"}


def test_a_return_keeps_max_concurrent(fleet: Simulation) -> None:
    fleet.commit(manifest("1.0.0", ONE))
    for _ in range(12):
        assert len(granted(fleet)) <= 1
        fleet.step()
    assert set(installed(fleet).values()) == {"1.0.0"}


def test_a_return_keeps_the_budget(tmp_path: Path) -> None:
    fleet = Simulation(tmp_path, devices=0)
    for n in range(3):
        fleet.enrol(f"till-{n}", store="s1")
    more = AT_ONCE + "  disruptionBudget: {groupBy: store, maxUnavailable: 1}\n"
    ship(fleet, manifest("1.0.0", AT_ONCE))
    ship(fleet, manifest("2.0.0", AT_ONCE))
    fleet.commit(manifest("1.0.0", more))
    for _ in range(9):
        assert len(granted(fleet)) <= 1
        fleet.step()
    assert set(installed(fleet).values()) == {"1.0.0"}


def test_devices_with_mixed_former_versions_all_come_home(fleet: Simulation) -> None:
    ship(fleet, manifest("3.0.0", "  strategy: canary\n  order: name\n  soak: 8h\n"), steps=3)
    fleet.verb(Verb.CANCEL)
    ship(fleet, manifest("4.0.0", AT_ONCE + "  filters: {devices: [till-2]}\n"))
    assert sorted(set(installed(fleet).values())) == ["2.0.0", "3.0.0", "4.0.0"]
    ship(fleet, manifest("1.0.0", AT_ONCE), steps=8)
    assert set(installed(fleet).values()) == {"1.0.0"}


def test_devices_that_are_at_home_are_no_members(fleet: Simulation) -> None:
    ship(fleet, manifest("3.0.0", "  strategy: canary\n  order: name\n  soak: 8h\n"), steps=3)
    assert installed(fleet)["till-1"] == "3.0.0"
    ship(fleet, manifest("2.0.0", AT_ONCE))
    assert (fleet.run().status, fleet.targets()) == ("completed", {"till-1": "completed"})


def test_a_return_whose_devices_are_all_home_completes_at_once(fleet: Simulation) -> None:
    fleet.commit(manifest("3.0.0", AT_ONCE + "  start: manual\n"))
    fleet.commit(manifest("2.0.0", AT_ONCE))
    assert (fleet.run().status, fleet.targets()) == ("completed", {})


def test_a_device_that_installs_when_the_revert_comes_finishes_and_comes_home(
    fleet: Simulation,
) -> None:
    fleet.commit(manifest("3.0.0", ONE))
    (name,) = granted(fleet)
    found = say(fleet, name, TargetState.DOWNLOADING, TargetState.INSTALLING)
    go_online(fleet, name, False)
    fleet.commit(manifest("2.0.0", AT_ONCE))
    assert state(fleet) == ("in_progress", "WaitingForDevices")
    finish(fleet, name, found)
    go_online(fleet, name)
    fleet.step(4)
    assert set(installed(fleet).values()) == {"2.0.0"}
    assert fleet.run().status == "completed"


def test_a_late_success_after_its_time_out_comes_home_too(fleet: Simulation) -> None:
    fleet.commit(manifest("3.0.0", ONE + "  deviceTimeout: 5m\n"))
    (name,) = granted(fleet)
    found = say(fleet, name, TargetState.DOWNLOADING, TargetState.INSTALLING)
    go_online(fleet, name, False)
    fleet.step(7)
    assert outcome(fleet, name) == ["failed", "TimedOut"]
    fleet.commit(manifest("2.0.0", AT_ONCE))
    fleet.step(2)
    go_online(fleet, name)
    finish(fleet, name, found)
    assert outcome(fleet, name, "3.0.0")[0] == "completed"
    fleet.step(4)
    assert set(installed(fleet).values()) == {"2.0.0"}


def test_a_device_that_is_away_comes_home_when_it_is_back(fleet: Simulation) -> None:
    more = AT_ONCE + "  offline: {after: 10m}\n"
    go_online(fleet, "till-3", False)
    fleet.step(4)
    fleet.commit(manifest("1.0.0", more))
    fleet.step(16)
    assert fleet.run().status == "completed"
    assert outcome(fleet, "till-3") == ["skipped", "OfflineDeferred"]
    go_online(fleet, "till-3")
    fleet.step(3)
    assert set(installed(fleet).values()) == {"1.0.0"}


def test_what_a_rollback_index_forbids_is_skipped(fleet: Simulation) -> None:
    with fleet.store.write() as connection:
        connection.execute(
            update(t.device_components)
            .where(t.device_components.c.device_seq == fleet.devices["till-2"].seq)
            .values(rollback_index=5)
        )
    ship(fleet, manifest("1.0.0", AT_ONCE), steps=6)
    assert outcome(fleet, "till-2") == ["skipped", "BelowRollbackIndex"]
    assert installed(fleet)["till-2"] == "2.0.0"
    assert told(fleet, "till-2") == ("keep", "2.0.0")
    assert sorted(installed(fleet).values()) == ["1.0.0"] * 3 + ["2.0.0"]


def test_a_return_keeps_windows_until_a_person_opens_them(fleet: Simulation) -> None:
    fleet.commit(manifest("1.0.0", AT_ONCE + NIGHT))
    (name,) = granted(fleet)
    found = component(fleet, name)
    assert found is not None
    assert len(found.windows) == 1
    through_windows(fleet)
    found = component(fleet, name)
    assert found is not None
    assert found.windows == ()


def test_only_a_return_goes_through_windows(fleet: Simulation) -> None:
    fleet.commit(manifest("4.0.0", AT_ONCE + NIGHT))
    with pytest.raises(NotAllowed, match="only a return"):
        through_windows(fleet)


def test_a_pause_holds_a_return_too(fleet: Simulation) -> None:
    fleet.verb(Verb.ROLLBACK)
    fleet.verb(Verb.PAUSE)
    fleet.commit(manifest("1.0.0", AT_ONCE))
    fleet.step(2)
    assert (fleet.run().status, set(installed(fleet).values())) == ("paused", {"2.0.0"})
    fleet.verb(Verb.RESUME)
    fleet.step(6)
    assert set(installed(fleet).values()) == {"1.0.0"}


def test_a_known_bad_package_is_not_in_the_way_of_the_others(fleet: Simulation) -> None:
    with fleet.store.write() as connection:
        connection.execute(
            update(t.device_components)
            .where(t.device_components.c.device_seq == fleet.devices["till-2"].seq)
            .values(known_bad=target(fleet, "till-2", "1.0.0").sha256)
        )
    ship(fleet, manifest("1.0.0", AT_ONCE), steps=6)
    assert outcome(fleet, "till-2") == ["skipped", "KnownBad"]
    assert sorted(installed(fleet).values()) == ["1.0.0"] * 3 + ["2.0.0"]
