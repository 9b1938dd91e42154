"""Single rules of the manual, each over a played fleet."""

from pathlib import Path

import pytest

from tests.reconciler.simulation import ORGANIZATION, Simulation, attempt_of, manifest
from towline.reconciler.acts import NotAllowed
from towline.reconciler.device_acts import act_on_device
from towline.schemas.states import TargetState, Verb

AT_ONCE = "  strategy: immediate\n"


@pytest.fixture
def fleet(tmp_path: Path) -> Simulation:
    return Simulation(tmp_path, devices=6)


def installed(fleet: Simulation) -> dict[str, str]:
    return {
        name: device.installed["app"].version
        for name, device in fleet.devices.items()
        if "app" in device.installed
    }


def test_manual_takes_the_named_devices_and_more_by_a_commit(fleet: Simulation) -> None:
    one = "  strategy: manual\n  filters: {devices: [till-2]}\n"
    fleet.commit(manifest("1.0.0", one))
    fleet.step(4)
    assert installed(fleet) == {"till-2": "1.0.0"}
    assert fleet.run().status == "completed"
    fleet.commit(manifest("1.0.0", one.replace("till-2", "till-2, till-5")))
    fleet.step(4)
    assert sorted(installed(fleet)) == ["till-2", "till-5"]


def test_a_person_names_no_more_devices_than_may_be(fleet: Simulation) -> None:
    few = "  strategy: manual\n  filters: {devices: [till-2]}\n  maxDevices: 2\n"
    fleet.commit(manifest("1.0.0", few))

    def name(device: str) -> None:
        act_on_device(
            fleet.store, ORGANIZATION, fleet.run().id, device, Verb.START,
            author="ops", reason="this one, too", now=fleet.now, head=fleet.head,
        )  # fmt: skip

    name("till-3")
    name("till-3")
    with pytest.raises(NotAllowed, match="3 devices, and the manifest allows 2"):
        name("till-4")
    fleet.step(4)
    assert sorted(installed(fleet)) == ["till-2", "till-3"]


def test_rolling_goes_in_steps(fleet: Simulation) -> None:
    fleet.commit(manifest("1.0.0", "  strategy: {type: rolling, batchSize: 50%, minDevices: 2}\n"))
    assert len(fleet.targets()) == 3
    fleet.step(8)
    assert fleet.run().status == "completed"
    assert len(installed(fleet)) == 6


def test_a_batch_with_filters_takes_its_own_devices_first(fleet: Simulation) -> None:
    fleet.enrol("lab-1", stage="lab")
    lab = "{name: lab, filters: {labels: {stage: lab}}, size: 100%}"
    plan = f"  strategy: {{type: batches, batches: [{lab}]}}\n"
    fleet.commit(manifest("1.0.0", plan))
    assert list(fleet.targets()) == ["lab-1"]
    fleet.step(8)
    assert len(installed(fleet)) == 7


def test_soak_counts_from_the_last_verdict(fleet: Simulation) -> None:
    fleet.commit(manifest("1.0.0", "  strategy: canary\n  soak: 10m\n"))
    fleet.step(4)
    assert (len(fleet.targets()), fleet.run().reason) == (1, "Soaking")
    fleet.step(12)
    assert fleet.run().status == "completed"


def test_devices_below_the_barrier_are_skipped_and_named(fleet: Simulation) -> None:
    fleet.commit(manifest("1.0.0", AT_ONCE))
    fleet.step(4)
    fleet.commit(manifest("3.0.0", AT_ONCE + '  requires: ">=2.0.0"\n'))
    fleet.step(2)
    assert set(fleet.targets().values()) == {"BelowBarrier"}


def test_a_downgrade_needs_leave(fleet: Simulation) -> None:
    fleet.commit(manifest("2.0.0", AT_ONCE))
    fleet.step(4)
    fleet.commit(manifest("1.0.0", AT_ONCE))
    fleet.step(2)
    assert set(fleet.targets().values()) == {"NewerInstalled"}
    fleet.commit(manifest("1.0.0", AT_ONCE + "  allowDowngrade: true\n"))
    fleet.step(4)
    assert set(installed(fleet).values()) == {"1.0.0"}


def test_a_known_bad_package_is_not_granted_again_by_itself(fleet: Simulation) -> None:
    fleet.commit(manifest("1.0.0", AT_ONCE))
    fleet.step(4)
    fleet.devices["till-1"].breaks = lambda version: version == "2.0.0"
    lenient = AT_ONCE + "  successThreshold: 50%\n"
    fleet.commit(manifest("2.0.0", lenient))
    fleet.step(4)
    assert fleet.targets()["till-1"] == "rolled_back"
    fleet.commit(manifest("2.0.0", lenient + "  install: {timeout: 5m}\n"))
    fleet.step(4)
    assert fleet.targets() == {"till-1": "KnownBad"}


def test_abort_ends_the_run_and_skips_the_untouched(fleet: Simulation) -> None:
    for device in fleet.devices.values():
        device.breaks = lambda _version: True
    fleet.commit(manifest("1.0.0", AT_ONCE + "  onFailure: abort\n  maxConcurrent: 1\n"))
    fleet.step(3)
    run = fleet.run()
    assert (run.status, run.reason) == ("failed", "Aborted")
    assert sorted(fleet.targets().values()).count("Cancelled") == 5


def test_a_failed_gate_without_untouched_devices_is_final(fleet: Simulation) -> None:
    for device in fleet.devices.values():
        device.breaks = lambda _version: True
    fleet.commit(manifest("1.0.0", AT_ONCE))
    fleet.step(4)
    run = fleet.run()
    assert (run.status, run.reason) == ("failed", "ThresholdNotMet")
    fleet.step(2)
    assert fleet.run().id == run.id
    fleet.verb(Verb.RETRY)
    assert fleet.run().turn == 1


def test_a_cancelled_run_is_final_for_its_revision(fleet: Simulation) -> None:
    fleet.commit(manifest("1.0.0", AT_ONCE + "  maxConcurrent: 1\n"))
    fleet.step()
    fleet.verb(Verb.CANCEL)
    fleet.step(3)
    assert (fleet.run().status, len(installed(fleet))) == ("cancelled", 1)
    with pytest.raises(NotAllowed, match="allowed: retry"):
        fleet.verb(Verb.CANCEL)
    fleet.commit(manifest("1.1.0", AT_ONCE))
    fleet.step(4)
    assert set(installed(fleet).values()) == {"1.1.0"}


def test_paused_in_git_holds_until_a_commit_or_a_resume(fleet: Simulation) -> None:
    fleet.commit(manifest("1.0.0", AT_ONCE + "  paused: true\n"))
    fleet.step(2)
    assert (fleet.run().status, installed(fleet)) == ("paused", {})
    fleet.verb(Verb.RESUME)
    fleet.step(4)
    assert fleet.run().status == "completed"


def test_a_pause_of_a_person_holds_the_next_revision_too(fleet: Simulation) -> None:
    fleet.commit(manifest("1.0.0", AT_ONCE + "  maxConcurrent: 1\n"))
    fleet.verb(Verb.PAUSE)
    fleet.commit(manifest("1.1.0", AT_ONCE))
    fleet.step(3)
    assert (fleet.run().status, fleet.run().target_version) == ("paused", "1.1.0")
    assert installed(fleet) == {}
    fleet.verb(Verb.RESUME)
    fleet.step(4)
    assert set(installed(fleet).values()) == {"1.1.0"}


def test_start_manual_waits_for_the_verb(fleet: Simulation) -> None:
    fleet.commit(manifest("1.0.0", AT_ONCE + "  start: manual\n"))
    fleet.step(2)
    assert (fleet.run().status, fleet.run().reason) == ("pending", "WaitingForStart")
    fleet.verb(Verb.START)
    fleet.step(4)
    assert fleet.run().status == "completed"


def test_accept_sets_the_verdicts_aside_and_goes_on(fleet: Simulation) -> None:
    fleet.commit(manifest("1.0.0", AT_ONCE))
    fleet.step(4)
    fleet.devices["till-1"].breaks = lambda version: version == "2.0.0"
    fleet.commit(manifest("2.0.0", "  strategy: canary\n  order: name\n"))
    fleet.step(3)
    assert fleet.run().reason == "ThresholdNotMet"
    fleet.verb(Verb.RESUME, accept=True)
    fleet.step(6)
    assert fleet.run().status == "completed"
    assert sorted(installed(fleet).values()) == ["1.0.0", *["2.0.0"] * 5]


def test_a_device_that_never_verifies_times_out_and_a_late_report_completes_it(
    fleet: Simulation,
) -> None:
    slow = fleet.devices["till-1"]
    fleet.commit(manifest("1.0.0", AT_ONCE + "  deviceTimeout: 10m\n  successThreshold: 50%\n"))
    fleet.step()
    slow.is_online = False
    fleet.step(12)
    assert fleet.targets()["till-1"] == "failed"
    slow.is_online, slow.etag = True, None
    component = fleet.wanted(fleet.devices["till-2"])[0]
    fleet.report(slow, attempt_of(component, TargetState.COMPLETED))
    assert fleet.targets()["till-1"] == "completed"


def test_tuning_alone_never_makes_a_run(fleet: Simulation) -> None:
    fleet.commit(manifest("1.0.0", AT_ONCE))
    run = fleet.run().id
    fleet.commit(manifest("1.0.0", "  strategy: canary\n  soak: 1h\n  maxConcurrent: 3\n"))
    assert fleet.run().id == run


def test_labels_of_a_joiner_decide_who_owns_it(fleet: Simulation) -> None:
    fleet.enrol("shop-1", region="eu")
    fleet.commit(manifest("1.0.0", AT_ONCE + "  filters: {labels: {region: eu}}\n"))
    fleet.step(4)
    assert installed(fleet) == {"shop-1": "1.0.0"}
