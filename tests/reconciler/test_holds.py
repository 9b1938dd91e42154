"""The set of holds: which shows, what stays, what a pause and the end of a run do to grants."""

from pathlib import Path

import pytest

from tests.reconciler.simulation import ORGANIZATION, Simulation, attempt_of, checksum, manifest
from tests.reconciler.waking import (
    DAY,
    HOUR,
    ask,
    begin,
    break_for,
    granted,
    held,
    installed,
    put_policy,
    shown,
    sleep,
    work,
)
from towline.reconciler.acts import Act
from towline.reconciler.store import repositories
from towline.reconciler.store import tables as t
from towline.reconciler.store.overrides import lapse_paused
from towline.schemas.reports import Installed
from towline.schemas.states import TargetState, Verb

AT_ONCE = "  strategy: immediate\n  order: name\n"
CANARY = "  strategy: canary\n  order: name\n"
PAUSED = "  paused: true\n"


@pytest.fixture
def fleet(tmp_path: Path) -> Simulation:
    return Simulation(tmp_path, devices=4)


def test_the_gravest_hold_shows_and_the_run_moves_when_none_is_left(fleet: Simulation) -> None:
    fleet.commit(manifest("1.0.0", AT_ONCE + PAUSED))
    with fleet.store.write() as connection:
        repositories.change(connection, ORGANIZATION, last_fetch_at=fleet.now - DAY)
    fleet.settle()
    assert (held(fleet), shown(fleet)) == ({"PausedInGit", "GitStale"}, ("paused", "GitStale"))
    with fleet.store.write() as connection:
        repositories.change(connection, ORGANIZATION, last_fetch_at=fleet.now)
    fleet.settle()
    assert shown(fleet) == ("paused", "PausedInGit")
    ask(fleet, Verb.RESUME)
    work(fleet)
    assert shown(fleet)[0] == "completed"


def test_a_new_run_ends_the_holds_of_the_old_one(fleet: Simulation) -> None:
    put_policy(fleet, "{maxDevices: 3}")
    fleet.commit(manifest("1.0.0", AT_ONCE))
    assert held(fleet) == {"PolicyViolated"}
    fleet.commit(manifest("1.1.0", AT_ONCE + "  filters: {exclude: [till-4]}\n"))
    assert held(fleet) == set()


@pytest.mark.parametrize("version", ["1.0.0", "3.0.0"])
def test_a_pause_stays_for_the_next_run_and_for_a_return(fleet: Simulation, version: str) -> None:
    fleet.commit(manifest("1.0.0", AT_ONCE))
    work(fleet)
    fleet.commit(manifest("2.0.0", CANARY + "  soak: 1h\n"))
    work(fleet)
    ask(fleet, Verb.PAUSE)
    fleet.commit(manifest(version, AT_ONCE))
    work(fleet)
    assert shown(fleet) == ("paused", "PausedByUser")
    assert installed(fleet, "2.0.0") == {"till-1"}
    ask(fleet, Verb.RESUME)
    work(fleet)
    assert len(installed(fleet, version)) == 4


def test_cancel_ends_every_hold_of_its_run(fleet: Simulation) -> None:
    put_policy(fleet, "{maxDevices: 3, approvals: [{aboveDevices: 1, count: 1}]}")
    fleet.commit(manifest("1.0.0", AT_ONCE))
    assert len(held(fleet)) == 2
    ask(fleet, Verb.CANCEL)
    assert (shown(fleet)[0], held(fleet)) == ("cancelled", set())


def test_a_rollback_ends_every_hold_of_its_run(fleet: Simulation) -> None:
    fleet.commit(manifest("1.0.0", AT_ONCE))
    work(fleet)
    break_for(fleet, "2.0.0", "till-2")
    fleet.commit(manifest("2.0.0", AT_ONCE + "  maxConcurrent: 1\n"))
    work(fleet)
    assert held(fleet) == {"ThresholdNotMet"}
    ask(fleet, Verb.ROLLBACK)
    work(fleet)
    assert (shown(fleet), held(fleet)) == (("failed", "RolledBack"), set())
    assert len(installed(fleet, "1.0.0")) == 4


def test_a_pause_for_a_while_ends_by_itself(fleet: Simulation) -> None:
    fleet.commit(manifest("1.0.0", AT_ONCE))
    ask(fleet, Act(Verb.PAUSE, pause_s=HOUR))
    sleep(fleet, HOUR - 1)
    assert (shown(fleet), installed(fleet, "1.0.0")) == (("paused", "PausedByUser"), set())
    sleep(fleet, 1)
    assert (shown(fleet)[0], len(installed(fleet, "1.0.0"))) == ("completed", 4)


def test_a_pause_in_git_is_lifted_by_a_commit(fleet: Simulation) -> None:
    fleet.commit(manifest("1.0.0", AT_ONCE + PAUSED))
    work(fleet)
    assert shown(fleet) == ("paused", "PausedInGit")
    fleet.commit(manifest("1.0.0", AT_ONCE))
    work(fleet)
    assert shown(fleet)[0] == "completed"


def test_a_resume_over_git_stands_for_the_next_revision_until_the_key_changes(
    fleet: Simulation,
) -> None:
    fleet.commit(manifest("1.0.0", AT_ONCE + PAUSED))
    ask(fleet, Verb.RESUME)
    fleet.commit(manifest("2.0.0", AT_ONCE + PAUSED))
    work(fleet)
    assert shown(fleet)[0] == "completed"
    with fleet.store.write() as connection:
        lapse_paused(connection, ORGANIZATION, ["app"])
    fleet.commit(manifest("3.0.0", AT_ONCE + PAUSED))
    assert held(fleet) == set()
    with fleet.store.write() as connection:
        lapse_paused(connection, ORGANIZATION, [])
    fleet.commit(manifest("4.0.0", AT_ONCE + PAUSED))
    assert shown(fleet) == ("paused", "PausedInGit")


def laid(fleet: Simulation, reason: str) -> None:
    """Lay a hold on a run with two grants, the way it comes about."""
    if reason == "PausedByUser":
        ask(fleet, Verb.PAUSE)
    elif reason == "PausedInGit":
        fleet.commit(manifest("1.0.0", AT_ONCE + "  maxConcurrent: 2\n" + PAUSED))
    else:
        with fleet.store.write() as connection:
            repositories.change(connection, ORGANIZATION, last_fetch_at=fleet.now - DAY)
        fleet.settle()


@pytest.mark.parametrize("reason", ["PausedByUser", "PausedInGit", "GitStale"])
def test_a_hold_takes_grants_back_where_no_install_has_begun(
    fleet: Simulation, reason: str
) -> None:
    fleet.commit(manifest("1.0.0", AT_ONCE + "  maxConcurrent: 2\n"))
    begin(fleet, "till-1", TargetState.DOWNLOADING)
    begin(fleet, "till-2", TargetState.INSTALLING)
    laid(fleet, reason)
    assert (held(fleet), granted(fleet)) == ({reason}, {"till-2"})
    assert fleet.targets()["till-1"] == "pending"


def test_a_failed_gate_takes_no_grant_back(fleet: Simulation) -> None:
    fleet.commit(manifest("1.0.0", AT_ONCE + "  maxConcurrent: 2\n"))
    component = begin(fleet, "till-1", TargetState.INSTALLING)
    gone = attempt_of(component, TargetState.FAILED, "NoPrevious")
    fleet.report(fleet.devices["till-1"], gone)
    fleet.settle()
    assert (held(fleet), granted(fleet)) == ({"ThresholdNotMet"}, {"till-2"})
    work(fleet)
    assert fleet.targets()["till-2"] == "completed"
    assert installed(fleet, "1.0.0") == {"till-2"}


@pytest.mark.parametrize("end", ["cancel", "remove", "supersede"])
def test_the_end_of_a_run_skips_what_has_not_begun_and_lets_the_rest_finish(
    fleet: Simulation, end: str
) -> None:
    fleet.commit(manifest("1.0.0", AT_ONCE + "  maxConcurrent: 2\n"))
    begin(fleet, "till-1", TargetState.DOWNLOADING)
    component = begin(fleet, "till-2", TargetState.INSTALLING)
    old = fleet.run().seq
    if end == "cancel":
        ask(fleet, Verb.CANCEL)
    else:
        fleet.commit(*([manifest("2.0.0", CANARY + PAUSED)] if end == "supersede" else []))
    fleet.devices["till-2"].installed["app"] = Installed("1.0.0", checksum("1.0.0"))
    fleet.report(fleet.devices["till-2"], attempt_of(component, TargetState.COMPLETED))
    fleet.settle()
    with fleet.store.read() as connection:
        rows = connection.execute(
            t.targets.select()
            .with_only_columns(t.targets.c.device_seq, t.targets.c.status, t.targets.c.reason)
            .where(t.targets.c.run_seq == old)
        ).all()
    why = "Superseded" if end == "supersede" else "Cancelled"
    assert {row.device_seq: row.status for row in rows} == {
        1: "skipped",
        2: "completed",
        3: "skipped",
        4: "skipped",
    }
    assert {row.reason for row in rows if row.status == "skipped"} == {why}


def test_a_former_runs_clock_keeps_nobody_awake_and_its_latecomer_is_taken_over(
    fleet: Simulation,
) -> None:
    fleet.commit(manifest("1.0.0", AT_ONCE))
    work(fleet)
    fleet.stages_at_once = False
    fleet.enrol("late")
    fleet.settle()
    assert (shown(fleet)[0], fleet.targets()["late"]) == ("completed", "pending")
    assert fleet.run().next_due is not None
    fleet.commit(manifest("2.0.0", AT_ONCE))
    sleep(fleet, 2 * DAY)
    assert (shown(fleet)[0], len(installed(fleet, "2.0.0"))) == ("completed", 5)


def test_a_latecomer_of_a_removed_deployment_is_free_for_another_one(fleet: Simulation) -> None:
    fleet.commit(manifest("1.0.0", AT_ONCE))
    work(fleet)
    fleet.stages_at_once = False
    fleet.enrol("late")
    fleet.settle()
    fleet.commit()
    assert fleet.targets()["late"] == "NoLongerMatches"
