"""Who must agree to a start and to a batch, who may not, and how long that counts."""

from pathlib import Path

import pytest

from tests.reconciler.simulation import Simulation, manifest
from tests.reconciler.waking import DAY, HOUR, ask, held, installed, put_policy, shown, sleep, work
from towline.reconciler.acts import Act, NotAllowed
from towline.schemas.states import Verb

AT_ONCE = "  strategy: immediate\n"
BY_BATCH = (
    "  strategy: {type: batches, batches: [{name: half, size: 50%, approval: manual}]}\n"
    "  order: name\n"
)
WAITING = ("paused", "WaitingForApproval")


@pytest.fixture
def fleet(tmp_path: Path) -> Simulation:
    return Simulation(tmp_path, devices=4)


@pytest.fixture
def watched(fleet: Simulation) -> Simulation:
    """Runs of more than three devices need two operators."""
    put_policy(fleet, "{approvals: [{aboveDevices: 3, count: 2}]}")
    return fleet


def test_a_large_run_waits_for_distinct_operators(watched: Simulation) -> None:
    watched.commit(manifest("1.0.0", AT_ONCE))
    assert (shown(watched), installed(watched, "1.0.0")) == (WAITING, set())
    ask(watched, Verb.APPROVE, "bob")
    ask(watched, Verb.APPROVE, "bob")
    assert shown(watched) == WAITING
    assert watched.run().message.startswith("1 of 2 operators")
    ask(watched, Verb.APPROVE, "eve")
    work(watched)
    assert shown(watched)[0] == "completed"


@pytest.mark.parametrize("author", ["Ada", "ada", "ada@acme.example", "Ada <ada@acme.example>"])
def test_the_author_of_the_commit_does_not_approve_its_start(
    watched: Simulation, author: str
) -> None:
    watched.commit(manifest("1.0.0", AT_ONCE))
    with pytest.raises(NotAllowed, match="somebody else must approve"):
        ask(watched, Verb.APPROVE, author)


def test_a_smaller_run_needs_nobody(watched: Simulation) -> None:
    watched.commit(manifest("1.0.0", AT_ONCE + "  filters: {exclude: [till-4]}\n"))
    work(watched)
    assert len(installed(watched, "1.0.0")) == 3


def test_all_devices_count_although_the_first_batch_has_filters_of_its_own(
    watched: Simulation,
) -> None:
    watched.enrol("lab-1", stage="lab")
    lab = "{name: lab, filters: {labels: {stage: lab}}, size: 100%}"
    watched.commit(manifest("1.0.0", f"  strategy: {{type: batches, batches: [{lab}]}}\n"))
    assert shown(watched) == WAITING


def test_an_approval_of_the_start_lapses_after_a_day_and_the_run_says_so(
    watched: Simulation,
) -> None:
    watched.commit(manifest("1.0.0", AT_ONCE))
    ask(watched, Verb.APPROVE, "bob")
    sleep(watched, DAY - 1)
    assert watched.run().message.startswith("1 of 2 operators")
    sleep(watched, 1)
    assert watched.run().message.startswith("0 of 2 operators")
    ask(watched, Verb.APPROVE, "eve")
    assert shown(watched) == WAITING


def test_a_policy_that_asks_for_less_lifts_the_wait(watched: Simulation) -> None:
    watched.commit(manifest("1.0.0", AT_ONCE))
    put_policy(watched, "{approvals: [{aboveDevices: 4, count: 2}]}")
    work(watched)
    assert shown(watched)[0] == "completed"


def test_the_next_run_needs_approvals_of_its_own(watched: Simulation) -> None:
    watched.commit(manifest("1.0.0", AT_ONCE))
    ask(watched, Verb.APPROVE, "bob")
    ask(watched, Verb.APPROVE, "eve")
    watched.commit(manifest("1.1.0", AT_ONCE))
    assert shown(watched) == WAITING


def test_a_return_needs_nobody(watched: Simulation) -> None:
    for version in ("1.0.0", "2.0.0"):
        watched.commit(manifest(version, AT_ONCE))
        ask(watched, Verb.APPROVE, "bob")
        ask(watched, Verb.APPROVE, "eve")
        work(watched)
    watched.commit(manifest("1.0.0", AT_ONCE))
    work(watched)
    assert len(installed(watched, "1.0.0")) == 4


def test_what_waits_for_people_is_shown_at_once_and_each_needs_its_own(
    watched: Simulation,
) -> None:
    watched.commit(manifest("1.0.0", AT_ONCE + "  paused: true\n  maxDevices: 3\n"))
    assert held(watched) == {"PausedInGit", "PolicyViolated", "WaitingForApproval"}
    assert shown(watched) == ("paused", "PolicyViolated")


def test_a_batch_waits_for_an_approval_after_its_soak(fleet: Simulation) -> None:
    fleet.commit(manifest("1.0.0", BY_BATCH + "  soak: 1h\n"))
    sleep(fleet, HOUR - 1)
    assert shown(fleet) == ("in_progress", "Soaking")
    sleep(fleet, 1)
    assert shown(fleet) == WAITING
    assert len(installed(fleet, "1.0.0")) == 2
    ask(fleet, Verb.APPROVE)
    work(fleet)
    assert shown(fleet)[0] == "completed"


@pytest.mark.parametrize("spec", [BY_BATCH + "  soak: 1h\n", AT_ONCE + "  start: manual\n"])
def test_approve_is_refused_when_nothing_waits_for_it(fleet: Simulation, spec: str) -> None:
    fleet.commit(manifest("1.0.0", spec))
    work(fleet)
    with pytest.raises(NotAllowed, match="nothing waits for an approval"):
        ask(fleet, Verb.APPROVE)


def test_an_approval_that_a_pause_kept_from_use_lapses(fleet: Simulation) -> None:
    fleet.commit(manifest("1.0.0", BY_BATCH))
    work(fleet)
    fleet.commit(manifest("1.0.0", BY_BATCH + "  paused: true\n"))
    ask(fleet, Verb.APPROVE)
    assert held(fleet) == {"PausedInGit"}
    sleep(fleet, DAY)
    ask(fleet, Verb.RESUME)
    assert shown(fleet) == WAITING


def test_an_approval_within_its_day_is_used_when_the_pause_ends(fleet: Simulation) -> None:
    fleet.commit(manifest("1.0.0", BY_BATCH))
    work(fleet)
    fleet.commit(manifest("1.0.0", BY_BATCH + "  paused: true\n"))
    ask(fleet, Verb.APPROVE)
    sleep(fleet, DAY - 1)
    ask(fleet, Verb.RESUME)
    work(fleet)
    assert shown(fleet)[0] == "completed"


def test_a_batch_that_regresses_while_people_are_asked_asks_them_no_more(
    fleet: Simulation,
) -> None:
    fleet.commit(manifest("1.0.0", AT_ONCE))
    work(fleet)
    fleet.commit(manifest("2.0.0", BY_BATCH))
    work(fleet)
    assert shown(fleet) == WAITING
    fleet.install_by_hand("till-1", "app", "1.0.0")
    work(fleet)
    assert held(fleet) == {"ThresholdNotMet"}
    ask(fleet, Verb.RETRY)
    work(fleet)
    assert (shown(fleet), len(installed(fleet, "2.0.0"))) == (WAITING, 2)


def test_what_was_approved_before_a_retry_must_be_approved_again(fleet: Simulation) -> None:
    fleet.commit(manifest("1.0.0", AT_ONCE))
    work(fleet)
    fleet.commit(manifest("2.0.0", BY_BATCH + "  maxConcurrent: 1\n"))
    work(fleet)
    fleet.devices["till-3"].is_online = False
    ask(fleet, Act(Verb.APPROVE))
    fleet.install_by_hand("till-1", "app", "1.0.0")
    fleet.settle()
    assert "ThresholdNotMet" in held(fleet)
    ask(fleet, Verb.RETRY)
    work(fleet)
    assert shown(fleet) == WAITING
