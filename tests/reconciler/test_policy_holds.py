"""How a run starts, and what its Policy and maxDevices hold: at the start and at the next batch."""

from pathlib import Path

import pytest

from tests.reconciler.simulation import Simulation, manifest
from tests.reconciler.waking import (
    HOUR,
    ask,
    held,
    installed,
    put_policy,
    shown,
    sleep,
    work,
)
from towline.reconciler.acts import NotAllowed
from towline.schemas.states import Verb

AT_ONCE = "  strategy: immediate\n"
CANARY = "  strategy: {type: canary, percentage: 10}\n"
LAB_FIRST = (
    "  strategy: {type: batches, batches: [{name: lab, filters: {labels: {stage: lab}},"
    " size: 100%}]}\n"
)


@pytest.fixture
def fleet(tmp_path: Path) -> Simulation:
    return Simulation(tmp_path, devices=6)


def test_a_run_with_a_start_time_begins_by_itself_at_that_time(fleet: Simulation) -> None:
    fleet.commit(manifest("1.0.0", AT_ONCE + "  start: 2027-01-15T10:00:00Z\n"))
    at = 1_800_007_200
    assert shown(fleet) == ("pending", "StartAt")
    sleep(fleet, at - fleet.now - 1)
    assert shown(fleet) == ("pending", "StartAt")
    sleep(fleet, 1)
    assert (fleet.run().started_at, len(installed(fleet, "1.0.0"))) == (at, 6)


def test_start_begins_a_run_before_its_time(fleet: Simulation) -> None:
    fleet.commit(manifest("1.0.0", AT_ONCE + "  start: 2027-01-15T10:00:00Z\n"))
    ask(fleet, Verb.START)
    work(fleet)
    assert len(installed(fleet, "1.0.0")) == 6


def test_a_run_that_has_begun_cannot_be_started(fleet: Simulation) -> None:
    fleet.commit(manifest("1.0.0", CANARY))
    with pytest.raises(NotAllowed, match="start is not allowed while the run is in_progress"):
        ask(fleet, Verb.START)


def test_start_leads_past_the_waiting_only_and_not_past_the_policy(fleet: Simulation) -> None:
    put_policy(fleet, "{maxDevices: 5}")
    fleet.commit(manifest("1.0.0", AT_ONCE + "  start: manual\n"))
    ask(fleet, Verb.START)
    assert shown(fleet) == ("paused", "PolicyViolated")


@pytest.mark.parametrize(
    ("policy", "spec", "says"),
    [
        ("{}", AT_ONCE + "  maxDevices: 5\n", "6 devices"),
        ("{maxDevices: 5}", AT_ONCE, "6 devices"),
        ("{maxDevices: 5}", LAB_FIRST, "6 devices"),
        ("{packageHosts: [cdn.example.com]}", "", "comes from"),
        ("{allowStrategies: [canary]}", AT_ONCE, "strategy immediate"),
        ("{maxShareFirstBatch: 20%}", "  strategy: {type: canary, percentage: 50}\n", "50%"),
        ("{maxShareFirstBatch: 10%}", LAB_FIRST, "2 of 6 devices"),
        ("{minSoak: [{labels: {}, soak: 1h}]}", CANARY, "soaks 0s"),
        ("{minSoak: [{labels: {stage: lab}, soak: 1h}]}", CANARY, "soaks 0s"),
        ("{minSoak: [{labels: {stage: lab}, soak: 1h}]}", AT_ONCE, "without a soak"),
    ],
)
def test_what_the_policy_forbids_holds_the_start(
    tmp_path: Path, policy: str, spec: str, says: str
) -> None:
    fleet = Simulation(tmp_path, devices=4)
    fleet.enrol("lab-1", stage="lab")
    fleet.enrol("lab-2", stage="lab")
    put_policy(fleet, policy)
    text = manifest("1.0.0", spec)
    if "packageHosts" in policy:
        text = text.replace("url: app-", "url: https://elsewhere.example/app-")
    fleet.commit(text)
    work(fleet)
    assert shown(fleet) == ("paused", "PolicyViolated")
    assert says in fleet.run().message
    assert (fleet.run().started_at, installed(fleet, "1.0.0")) == (None, set())


def test_a_least_soak_of_labels_that_no_device_has_holds_nothing(fleet: Simulation) -> None:
    put_policy(fleet, "{minSoak: [{labels: {site: hospital}, soak: 1h}]}")
    fleet.commit(manifest("1.0.0", CANARY))
    work(fleet)
    assert shown(fleet)[0] == "completed"


def test_a_commit_that_obeys_lifts_the_hold(fleet: Simulation) -> None:
    put_policy(fleet, "{allowStrategies: [canary]}")
    fleet.commit(manifest("1.0.0", AT_ONCE))
    run = fleet.run().id
    fleet.commit(manifest("1.0.0", CANARY))
    work(fleet)
    assert (fleet.run().id, shown(fleet)[0]) == (run, "completed")


def test_no_verb_but_cancel_or_rollback_ends_a_violated_policy(fleet: Simulation) -> None:
    put_policy(fleet, "{maxDevices: 5}")
    fleet.commit(manifest("1.0.0", AT_ONCE))
    for verb in (Verb.RESUME, Verb.APPROVE, Verb.RETRY, Verb.START, Verb.PAUSE):
        with pytest.raises(NotAllowed):
            ask(fleet, verb)
    ask(fleet, Verb.CANCEL)
    assert (shown(fleet), held(fleet)) == (("cancelled", "CancelledByUser"), set())


def test_a_stricter_policy_binds_from_the_next_batch_on(fleet: Simulation) -> None:
    fleet.commit(manifest("1.0.0", "  strategy: canary\n  soak: 1h\n"))
    put_policy(fleet, "{maxDevices: 5}")
    work(fleet)
    assert shown(fleet) == ("in_progress", "Soaking")
    sleep(fleet, HOUR)
    assert shown(fleet) == ("paused", "PolicyViolated")
    assert len(installed(fleet, "1.0.0")) == 1
    put_policy(fleet, "{maxDevices: 6}")
    work(fleet)
    assert shown(fleet)[0] == "completed"


def test_a_return_is_never_held_by_the_policy(fleet: Simulation) -> None:
    fleet.commit(manifest("1.0.0", AT_ONCE))
    work(fleet)
    fleet.commit(manifest("2.0.0", AT_ONCE))
    work(fleet)
    put_policy(fleet, "{maxDevices: 1, allowStrategies: [canary], packageHosts: [nowhere.example]}")
    fleet.commit(manifest("1.0.0", AT_ONCE))
    work(fleet)
    assert (fleet.run().is_return, len(installed(fleet, "1.0.0"))) == (True, 6)
