"""Reports, verbs and commits that cross each other: nothing is lost, stuck or granted twice."""

from pathlib import Path

import pytest
from sqlalchemy import select

from tests.reconciler.simulation import Simulation, attempt_of, manifest
from towline.reconciler.store import tables as t
from towline.schemas.desired_state import ComponentAction, ComponentWanted
from towline.schemas.reports import Installed
from towline.schemas.states import TargetState, Verb

AT_ONCE = "  strategy: immediate\n"
ONE = AT_ONCE + "  maxConcurrent: 1\n"


@pytest.fixture
def fleet(tmp_path: Path) -> Simulation:
    return Simulation(tmp_path, devices=4)


def versions(fleet: Simulation) -> list[str]:
    return sorted(
        device.installed["app"].version
        for device in fleet.devices.values()
        if "app" in device.installed
    )


def granted(fleet: Simulation) -> tuple[str, ComponentWanted]:
    for name, device in fleet.devices.items():
        for component in fleet.wanted(device):
            if component.action is ComponentAction.INSTALL:
                return name, component
    raise AssertionError("nothing is granted")


def test_a_return_brings_home_whoever_the_filters_matched_before(fleet: Simulation) -> None:
    fleet.commit(manifest("1.0.0", AT_ONCE))
    fleet.step(4)
    first = AT_ONCE + '  filters: {current_version: "<1.5"}\n'
    fleet.commit(manifest("1.4.0", first))
    fleet.step(4)
    fleet.commit(manifest("2.0.0", AT_ONCE))
    fleet.step(4)
    assert versions(fleet) == ["2.0.0"] * 4
    fleet.commit(manifest("1.4.0", first))
    fleet.step(6)
    assert versions(fleet) == ["1.4.0"] * 4


def test_a_download_whose_grant_was_taken_back_counts_for_nothing(fleet: Simulation) -> None:
    fleet.commit(manifest("1.0.0", ONE))
    name, component = granted(fleet)
    fleet.verb(Verb.PAUSE)
    fleet.report(fleet.devices[name], attempt_of(component, TargetState.DOWNLOADING))
    fleet.verb(Verb.RESUME)
    fleet.step(10)
    assert fleet.run().status == "completed"


def test_an_install_that_had_begun_holds_its_slot_again(fleet: Simulation) -> None:
    fleet.commit(manifest("1.0.0", ONE))
    name, component = granted(fleet)
    device = fleet.devices[name]
    fleet.verb(Verb.PAUSE)
    fleet.report(device, attempt_of(component, TargetState.INSTALLING))
    fleet.verb(Verb.RESUME)
    assert [granted(fleet)[0]] == [name]
    device.installed["app"] = Installed(component.version, component.sha256)
    fleet.report(device, attempt_of(component, TargetState.COMPLETED))
    fleet.step(12)
    assert fleet.run().status == "completed"


def test_a_late_success_stays_completed_and_is_verified(fleet: Simulation) -> None:
    fleet.commit(manifest("1.0.0", AT_ONCE + "  deviceTimeout: 5m\n  successThreshold: 50%\n"))
    slow = fleet.devices["till-1"]
    (component,) = fleet.wanted(slow)
    fleet.report(slow, attempt_of(component, TargetState.DOWNLOADING))
    slow.is_online = False
    fleet.step(10)
    assert fleet.targets()["till-1"] == "failed"
    slow.installed["app"] = Installed(component.version, component.sha256)
    fleet.report(slow, attempt_of(component, TargetState.COMPLETED))
    fleet.settle()
    fleet.report(slow)
    fleet.step(10)
    assert fleet.targets()["till-1"] == "completed"


def test_a_device_that_leaves_the_filters_before_its_grant_is_left_alone(
    fleet: Simulation,
) -> None:
    fleet.commit(manifest("1.0.0", ONE + "  order: name\n"))
    fleet.commit(manifest("1.0.0", ONE + "  order: name\n  filters: {exclude: [till-3]}\n"))
    assert fleet.targets()["till-3"] == "NoLongerMatches"
    fleet.step(10)
    assert fleet.run().status == "completed"
    assert "app" not in fleet.devices["till-3"].installed


def test_nobody_gets_what_two_deployments_own(fleet: Simulation) -> None:
    mine = manifest("1.0.0", AT_ONCE)
    other = manifest("2.0.0", AT_ONCE + "  filters: {devices: [till-1]}\n", name="rival").replace(
        "component: rival", "component: app"
    )
    fleet.commit(mine, other, unsigned=())
    fleet.step(5)
    assert versions(fleet) == ["1.0.0"] * 3
    assert "app" not in fleet.devices["till-1"].installed


def test_a_success_that_crosses_a_new_revision_stays_a_success(fleet: Simulation) -> None:
    fleet.commit(manifest("1.0.0", ONE))
    name, component = granted(fleet)
    device = fleet.devices[name]
    for state in (TargetState.DOWNLOADING, TargetState.INSTALLING):
        fleet.report(device, attempt_of(component, state))
    old = fleet.run().seq
    fleet.commit(manifest("2.0.0", ONE))
    device.installed["app"] = Installed(component.version, component.sha256)
    fleet.report(device, attempt_of(component, TargetState.COMPLETED))
    fleet.step(12)
    assert versions(fleet) == ["2.0.0"] * 4
    with fleet.store.read() as connection:
        former = connection.execute(
            select(t.targets.c.status, t.targets.c.verified_at).where(
                t.targets.c.run_seq == old, t.targets.c.device_seq == device.seq
            )
        ).one()
    assert former.status == "completed"
    assert former.verified_at is not None


def test_a_passed_batch_whose_devices_regress_is_judged_again(fleet: Simulation) -> None:
    fleet.commit(manifest("1.0.0", AT_ONCE))
    fleet.step(4)
    fleet.commit(manifest("2.0.0", "  strategy: canary\n  order: name\n  maxConcurrent: 1\n"))
    fleet.step(3)
    canary = fleet.devices["till-1"]
    assert canary.installed["app"].version == "2.0.0"
    canary.installed["app"] = Installed("1.0.0", "ab" * 32)
    fleet.report(canary)
    fleet.step(2)
    assert (fleet.run().status, fleet.run().reason) == ("paused", "ThresholdNotMet")


@pytest.mark.parametrize(("verb", "accept"), [(Verb.RESUME, True), (Verb.RETRY, False)])
def test_a_gate_before_the_first_batch_is_cleared_and_patience_begins_anew(
    fleet: Simulation, verb: Verb, accept: bool
) -> None:
    for device in fleet.devices.values():
        device.is_online = False
    fleet.step(5)
    fleet.commit(manifest("1.0.0", "  strategy: canary\n  offline: {after: 10m}\n"))
    fleet.step(12)
    assert fleet.run().reason == "NoEvidence"
    fleet.verb(verb, accept=accept)
    assert fleet.run().status == "in_progress"
    for device in fleet.devices.values():
        device.is_online = True
    fleet.step(8)
    assert fleet.run().status == "completed"


def test_a_mended_url_reaches_the_run_in_progress(fleet: Simulation) -> None:
    fleet.commit(manifest("1.0.0", ONE))
    run = fleet.run().id
    text = manifest("1.0.0", ONE).replace("url: app-1", "url: https://cdn.example.com/app-1")
    fleet.commit(text)
    assert fleet.run().id == run
    assert granted(fleet)[1].urls == ("https://cdn.example.com/app-1.0.0.tar.gz",)


def test_paused_in_git_stops_latecomers_too(fleet: Simulation) -> None:
    fleet.commit(manifest("1.0.0", AT_ONCE))
    fleet.step(4)
    fleet.commit(manifest("1.0.0", AT_ONCE + "  paused: true\n"))
    fleet.enrol("till-9")
    fleet.step(4)
    assert "app" not in fleet.devices["till-9"].installed
    fleet.commit(manifest("1.0.0", AT_ONCE))
    fleet.step(4)
    assert "app" in fleet.devices["till-9"].installed


def test_accepting_a_failed_canary_infects_no_other_device(tmp_path: Path) -> None:
    fleet = Simulation(tmp_path, devices=10)
    fleet.commit(manifest("1.0.0", AT_ONCE))
    fleet.step(4)
    for device in fleet.devices.values():
        device.breaks = lambda version: version == "2.0.0"
    plan = "  strategy: {type: canary, percentage: 30}\n  maxConcurrent: 1\n"
    fleet.commit(manifest("2.0.0", plan))
    fleet.step(3)
    assert fleet.run().reason == "ThresholdNotMet"
    fleet.verb(Verb.RESUME, accept=True)
    assert len(fleet.targets()) == 3


def test_retrying_a_cancelled_return_still_brings_the_fleet_home(fleet: Simulation) -> None:
    fleet.commit(manifest("1.0.0", AT_ONCE))
    fleet.step(4)
    fleet.commit(manifest("2.0.0", AT_ONCE))
    fleet.step(4)
    fleet.commit(manifest("1.0.0", AT_ONCE))
    fleet.verb(Verb.CANCEL)
    fleet.verb(Verb.RETRY)
    fleet.step(6)
    assert versions(fleet) == ["1.0.0"] * 4


def test_filters_by_status_offline_select_only_silent_devices(fleet: Simulation) -> None:
    for name in ("till-1", "till-2"):
        fleet.devices[name].is_online = False
    fleet.step(5)
    fleet.commit(manifest("1.0.0", AT_ONCE + "  filters: {status: offline}\n"))
    assert sorted(fleet.targets()) == ["till-1", "till-2"]


def test_a_settled_fleet_has_no_clock_left(fleet: Simulation) -> None:
    fleet.commit(manifest("1.0.0", AT_ONCE))
    fleet.step(6)
    assert (fleet.run().status, fleet.run().next_due) == ("completed", None)
