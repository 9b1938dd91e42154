"""Holds that come with time or numbers: stale plans, stale git, and no verdict for too long."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert

from tests.reconciler.simulation import ORGANIZATION, Simulation, manifest
from tests.reconciler.waking import (
    HOUR,
    ask,
    begin,
    go_on,
    granted,
    held,
    installed,
    put_policy,
    shown,
    sleep,
    wait_for_window,
    work,
)
from towline.reconciler.acts import NotAllowed
from towline.reconciler.store import repositories
from towline.reconciler.store import tables as t
from towline.schemas.states import TargetState, Verb

AT_ONCE = "  strategy: immediate\n  order: name\n"
CANARY = "  strategy: canary\n  order: name\n"


@pytest.fixture
def fleet(tmp_path: Path) -> Simulation:
    return Simulation(tmp_path, devices=4)


def record_plan(fleet: Simulation, targets: int) -> None:
    """A plan of the newest run's revision reached so many devices."""
    counts: dict[str, Any] = {"app": {"targets": targets, "batches": [targets]}}
    with fleet.store.write() as connection:
        connection.execute(
            insert(t.plans).values(
                organization=ORGANIZATION,
                revision=fleet.head.deployments["app"].revision,
                counts=counts,
                author="ops",
                recorded_at=fleet.now,
            )
        )


@pytest.mark.parametrize(
    ("planned", "policy", "is_held"),
    [
        (10, "{}", False),
        (9, "{}", True),
        (9, "{stalePlan: 100%}", False),
        (8, "{stalePlan: 100%}", False),
        (7, "{stalePlan: 100%}", True),
    ],
)
def test_a_plan_is_stale_above_its_share_and_above_five_devices(
    tmp_path: Path, planned: int, policy: str, is_held: bool
) -> None:
    fleet = Simulation(tmp_path, devices=15)
    put_policy(fleet, policy)
    fleet.commit(manifest("1.0.0", CANARY + "  start: manual\n"))
    record_plan(fleet, planned)
    ask(fleet, Verb.START)
    assert (held(fleet) == {"PlanStale"}) is is_held


def test_a_stale_plan_waits_for_an_approval(tmp_path: Path) -> None:
    fleet = Simulation(tmp_path, devices=8)
    fleet.commit(manifest("1.0.0", AT_ONCE + "  start: manual\n"))
    record_plan(fleet, 2)
    ask(fleet, Verb.START)
    assert shown(fleet) == ("paused", "PlanStale")
    assert "8 devices match, the recorded plan had 2" in fleet.run().message
    ask(fleet, Verb.APPROVE)
    work(fleet)
    assert shown(fleet)[0] == "completed"


def test_without_a_recorded_plan_nothing_is_stale(fleet: Simulation) -> None:
    fleet.commit(manifest("1.0.0", AT_ONCE))
    work(fleet)
    assert shown(fleet)[0] == "completed"


def test_stale_git_holds_after_the_policys_time_and_git_back_lifts_it(fleet: Simulation) -> None:
    put_policy(fleet, "{staleGit: {alertAfter: 15m, holdAfter: 2h}}")
    fleet.commit(manifest("1.0.0", AT_ONCE))
    with fleet.store.write() as connection:
        repositories.change(connection, ORGANIZATION, last_fetch_at=fleet.now - 2 * HOUR + 1)
    fleet.settle()
    assert held(fleet) == set()
    fleet.now += 1
    fleet.settle()
    assert shown(fleet) == ("paused", "GitStale")
    with pytest.raises(NotAllowed, match="resume cannot lift what holds the run: GitStale"):
        ask(fleet, Verb.RESUME)
    with fleet.store.write() as connection:
        repositories.change(connection, ORGANIZATION, last_fetch_at=fleet.now)
    fleet.settle()
    work(fleet)
    assert shown(fleet)[0] == "completed"


SLOW = AT_ONCE + "  maxConcurrent: 2\n  progressDeadline: 2h\n  deviceTimeout: 1h\n"


def test_a_run_without_a_verdict_for_too_long_is_held_by_itself(fleet: Simulation) -> None:
    fleet.commit(manifest("1.0.0", SLOW))
    wait_for_window(fleet, "till-1", "till-2")
    sleep(fleet, 2 * HOUR - 1)
    assert held(fleet) == set()
    sleep(fleet, 1)
    assert (held(fleet), granted(fleet)) == ({"DeadlineExceeded"}, set())


def test_the_hold_for_the_deadline_leaves_what_installs(fleet: Simulation) -> None:
    fleet.commit(manifest("1.0.0", SLOW))
    wait_for_window(fleet, "till-1", "till-2")
    sleep(fleet, 2 * HOUR - 60)
    begin(fleet, "till-2", TargetState.INSTALLING)
    sleep(fleet, 60)
    assert (held(fleet), granted(fleet)) == ({"DeadlineExceeded"}, {"till-2"})


def test_the_deadline_counts_from_the_last_verdict(fleet: Simulation) -> None:
    fleet.commit(manifest("1.0.0", SLOW))
    wait_for_window(fleet, "till-1", "till-2")
    sleep(fleet, HOUR)
    go_on(fleet, "till-2")
    sleep(fleet, 2 * HOUR - 1)
    assert (held(fleet), len(installed(fleet, "1.0.0"))) == (set(), 3)
    sleep(fleet, 1)
    assert held(fleet) == {"DeadlineExceeded"}


def test_devices_that_are_offline_do_not_exceed_the_deadline(fleet: Simulation) -> None:
    fleet.commit(manifest("1.0.0", SLOW))
    wait_for_window(fleet, "till-1", "till-2")
    for device in fleet.devices.values():
        device.is_online = False
    sleep(fleet, 3 * HOUR)
    fleet.settle()
    assert held(fleet) == set()


def test_a_resume_gives_a_new_clock(fleet: Simulation) -> None:
    fleet.commit(manifest("1.0.0", SLOW))
    wait_for_window(fleet, "till-1", "till-2")
    sleep(fleet, 2 * HOUR - 60)
    begin(fleet, "till-2", TargetState.INSTALLING)
    sleep(fleet, 60)
    ask(fleet, Verb.RESUME)
    assert (held(fleet), shown(fleet)[0]) == (set(), "in_progress")
