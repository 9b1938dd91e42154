"""Failed gates and what people do about them, final runs, soaks, and the arms of an experiment."""

from pathlib import Path

import pytest

from tests.reconciler.simulation import ORGANIZATION, Simulation, attempt_of, checksum, manifest
from tests.reconciler.waking import (
    DAY,
    HOUR,
    ask,
    begin,
    break_for,
    go_on,
    held,
    installed,
    shown,
    sleep,
    stay_in_touch,
    work,
)
from towline.reconciler.acts import Act, NotAllowed, act
from towline.schemas.states import TargetState, Verb

AT_ONCE = "  strategy: immediate\n  order: name\n"
CANARY = "  strategy: canary\n  order: name\n"
PAUSED = "  paused: true\n"


@pytest.fixture
def fleet(tmp_path: Path) -> Simulation:
    return Simulation(tmp_path, devices=4)


def fail_canary(fleet: Simulation, more: str = "") -> None:
    """All devices run 1.0.0, and the canary of 2.0.0 fails."""
    fleet.commit(manifest("1.0.0", AT_ONCE))
    work(fleet)
    break_for(fleet, "2.0.0", "till-1")
    fleet.commit(manifest("2.0.0", CANARY + more))
    work(fleet)


def test_retry_tries_the_failed_devices_of_the_batch_again(fleet: Simulation) -> None:
    fail_canary(fleet)
    assert (shown(fleet), installed(fleet, "2.0.0")) == (("paused", "ThresholdNotMet"), set())
    fleet.devices["till-1"].breaks = lambda _: False
    ask(fleet, Verb.RETRY)
    assert (held(fleet), fleet.targets()) == (set(), {"till-1": "pending"})
    work(fleet)
    assert (shown(fleet)[0], len(installed(fleet, "2.0.0"))) == ("completed", 4)


def test_a_batch_that_was_accepted_stays_behind_the_run(fleet: Simulation) -> None:
    fail_canary(fleet)
    ask(fleet, Verb.RESUME, accept=True)
    work(fleet)
    assert (shown(fleet)[0], len(installed(fleet, "2.0.0"))) == ("completed", 3)
    assert fleet.targets()["till-1"] == "rolled_back"


def test_a_hold_that_was_lifted_is_not_shown_until_the_next_pass(fleet: Simulation) -> None:
    fail_canary(fleet)
    asked = Act(Verb.RESUME, accept=True)
    run = fleet.run().id
    act(fleet.store, ORGANIZATION, run, asked, author="ops", reason="so", now=fleet.now)
    assert (fleet.run().status, fleet.run().reason, fleet.run().message) == ("in_progress", "", "")


def test_a_plain_resume_lifts_a_pause_and_leaves_the_gate(fleet: Simulation) -> None:
    fail_canary(fleet)
    fleet.commit(manifest("2.0.0", CANARY + PAUSED))
    assert held(fleet) == {"PausedInGit", "ThresholdNotMet"}
    ask(fleet, Verb.RESUME)
    assert held(fleet) == {"ThresholdNotMet"}
    with pytest.raises(NotAllowed, match="`retry` tries the failed devices again"):
        ask(fleet, Verb.RESUME)


def test_retry_is_refused_where_no_gate_holds(fleet: Simulation) -> None:
    fleet.commit(manifest("1.0.0", AT_ONCE + PAUSED))
    with pytest.raises(NotAllowed, match="no gate holds the run"):
        ask(fleet, Verb.RETRY)


def test_a_gate_that_fails_while_devices_are_untouched_elsewhere_only_holds(
    fleet: Simulation,
) -> None:
    fleet.enrol("lab-1", stage="lab")
    fleet.commit(manifest("1.0.0", AT_ONCE))
    work(fleet)
    break_for(fleet, "2.0.0", "lab-1")
    lab = "{name: lab, filters: {labels: {stage: lab}}, size: 100%}"
    none = "{name: none, filters: {labels: {stage: none}}, size: 100%}"
    spec = f"  strategy: {{type: batches, batches: [{lab}, {none}]}}\n"
    fleet.commit(manifest("2.0.0", spec))
    work(fleet)
    assert shown(fleet) == ("paused", "ThresholdNotMet")


def test_a_failed_run_that_drains_shows_the_hold_that_stands(fleet: Simulation) -> None:
    fleet.commit(manifest("1.0.0", AT_ONCE))
    component = begin(fleet, "till-1", TargetState.INSTALLING)
    for name in ("till-2", "till-3", "till-4"):
        begin(fleet, name, TargetState.INSTALLING)
    failed = attempt_of(component, TargetState.FAILED, "NoPrevious")
    fleet.report(fleet.devices["till-1"], failed)
    fleet.settle()
    assert shown(fleet) == ("in_progress", "Draining")
    ask(fleet, Verb.PAUSE)
    assert shown(fleet) == ("paused", "PausedByUser")


def test_too_few_verdicts_hold_until_a_person_goes_on(fleet: Simulation) -> None:
    for device in fleet.devices.values():
        device.is_online = False
    fleet.commit(manifest("1.0.0", CANARY + "  offline: {after: 10m}\n"))
    sleep(fleet, HOUR)
    assert shown(fleet) == ("paused", "NoEvidence")
    for device in fleet.devices.values():
        device.is_online = True
    stay_in_touch(fleet)
    with pytest.raises(NotAllowed, match="NoEvidence"):
        ask(fleet, Verb.RESUME)
    ask(fleet, Verb.RETRY)
    work(fleet)
    assert shown(fleet)[0] == "completed"


@pytest.mark.parametrize("status", ["cancelled", "failed"])
def test_only_retry_goes_on_with_a_run_that_is_over(fleet: Simulation, status: str) -> None:
    fail_canary(fleet, "" if status == "cancelled" else "  onFailure: abort\n")
    if status == "cancelled":
        ask(fleet, Verb.CANCEL)
    run = fleet.run()
    assert run.status == status
    for verb in set(Verb) - {Verb.RETRY}:
        with pytest.raises(NotAllowed, match="allowed: retry"):
            ask(fleet, verb)
    sleep(fleet, DAY)
    fleet.commit(manifest("2.0.0", CANARY + "  soak: 1m\n"))
    assert fleet.run().id == run.id
    fleet.devices["till-1"].breaks = lambda _: False
    ask(fleet, Verb.RETRY)
    sleep(fleet, HOUR)
    assert (fleet.run().turn, shown(fleet)[0]) == (1, "completed")
    assert len(installed(fleet, "2.0.0")) == 4


def test_the_soak_counts_from_the_last_verdict_of_the_batch(fleet: Simulation) -> None:
    spec = "  strategy: {type: rolling, batchSize: 50%, minDevices: 2}\n  order: name\n  soak: 1h\n"
    fleet.commit(manifest("1.0.0", spec))
    begin(fleet, "till-2", TargetState.DOWNLOADING)
    sleep(fleet, 1800)
    assert installed(fleet, "1.0.0") == {"till-1"}
    go_on(fleet, "till-2")
    sleep(fleet, HOUR - 1)
    assert shown(fleet) == ("in_progress", "Soaking")
    sleep(fleet, 1)
    assert shown(fleet)[0] == "completed"


def test_a_passed_member_that_shows_another_version_in_the_soak_fails_the_batch(
    fleet: Simulation,
) -> None:
    fleet.commit(manifest("1.0.0", AT_ONCE))
    work(fleet)
    fleet.commit(manifest("2.0.0", CANARY + "  soak: 1h\n"))
    sleep(fleet, HOUR - 1)
    fleet.install_by_hand("till-1", "app", "1.0.0")
    sleep(fleet, HOUR)
    assert shown(fleet) == ("paused", "ThresholdNotMet")
    assert installed(fleet, "2.0.0") == set()


def test_each_arm_of_an_experiment_must_reach_the_threshold(tmp_path: Path) -> None:
    fleet = Simulation(tmp_path, devices=12)
    fleet.commit(manifest("1.0.0", AT_ONCE))
    work(fleet)
    spec = (
        "  strategy: {type: rolling, batchSize: 75%, minDevices: 1}\n  order: name\n"
        "  successThreshold: 20%\n"
        "  experiment: {arms: [{name: a, weight: 50}, {name: b, weight: 50,"
        ' targetVersion: "2.5.0", package: {url: app-2.5.0.tar.gz,'
        f' checksum: "sha256:{checksum("2.5.0")}"}}}}]}}\n'
    )
    break_for(fleet, "2.5.0", *fleet.devices)
    fleet.commit(manifest("2.5.0", AT_ONCE + "  start: manual\n"))  # signs it
    fleet.commit(manifest("2.0.0", spec))
    work(fleet)
    assert shown(fleet) == ("paused", "ThresholdNotMet")


def test_a_verb_that_the_state_does_not_allow_says_what_is(fleet: Simulation) -> None:
    fleet.commit(manifest("1.0.0", CANARY + "  soak: 1h\n"))
    with pytest.raises(
        NotAllowed,
        match=r"resume is not allowed while the run is in_progress; allowed: pause, cancel,",
    ):
        ask(fleet, Verb.RESUME)
