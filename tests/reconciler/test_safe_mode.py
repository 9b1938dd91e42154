"""safeMode: one device alone before everything else, the most cautious one."""

from pathlib import Path

import pytest
from sqlalchemy import select, update

from tests.reconciler.looking import (
    AT_ONCE,
    go_online,
    holds,
    installed,
    outcome,
    say,
    ship,
    state,
    twin,
)
from tests.reconciler.simulation import Simulation, attempt_of, manifest
from towline.reconciler.store import tables as t
from towline.schemas.states import TargetState, Verb

SAFE = "  safeMode: true\n  strategy: immediate\n  order: name\n"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Simulation:
    """Six devices that have polled before."""
    fleet = Simulation(tmp_path_factory.mktemp("base"), devices=6)
    fleet.step(2)
    return fleet


@pytest.fixture
def fleet(base: Simulation, tmp_path: Path) -> Simulation:
    return twin(base, tmp_path)


def say_free(fleet: Simulation, name: str, free_bytes: int) -> None:
    with fleet.store.write() as connection:
        connection.execute(
            update(t.device_state)
            .where(t.device_state.c.device_seq == fleet.devices[name].seq)
            .values(facts={"freeBytes": free_bytes})
        )


def set_time_zone(fleet: Simulation, name: str, zone: str) -> None:
    with fleet.store.write() as connection:
        connection.execute(
            update(t.edge_devices).where(t.edge_devices.c.slug == name).values(time_zone=zone)
        )


def batch_names(fleet: Simulation) -> list[str]:
    with fleet.store.read() as connection:
        rows = connection.execute(
            select(t.batches.c.name)
            .where(t.batches.c.run_seq == fleet.run().seq)
            .order_by(t.batches.c.number)
        )
        return list(rows.scalars())


def test_one_device_goes_alone_and_the_others_follow(fleet: Simulation) -> None:
    fleet.commit(manifest("1.0.0", SAFE))
    assert list(fleet.targets()) == ["till-1"]
    fleet.step(5)
    assert fleet.run().status == "completed"
    assert len(installed(fleet)) == 6


def test_it_goes_before_the_first_batch_of_any_strategy(fleet: Simulation) -> None:
    plan = "  safeMode: true\n  strategy: {type: canary, percentage: 50}\n  order: name\n"
    ship(fleet, manifest("1.0.0", plan), steps=3)
    assert batch_names(fleet) == ["alone", "canary"]
    assert len(fleet.targets()) == 3


def test_it_has_no_soak_and_no_approval_of_its_own(fleet: Simulation) -> None:
    plan = "{type: batches, batches: [{name: lab, size: 30%, soak: 2h, approval: manual}]}"
    ship(fleet, manifest("1.0.0", f"  safeMode: true\n  strategy: {plan}\n  soak: 1h\n"), 3)
    assert batch_names(fleet) == ["alone", "lab"]


def test_a_device_that_was_seen_once_only_does_not_go_first(fleet: Simulation) -> None:
    fleet.enrol("aaa-new")
    fleet.commit(manifest("1.0.0", SAFE))
    assert list(fleet.targets()) == ["till-1"]


def test_a_device_whose_last_attempt_failed_does_not_go_first(fleet: Simulation) -> None:
    fleet.devices["till-1"].breaks = lambda version: version == "1.0.0"
    ship(fleet, manifest("1.0.0", AT_ONCE + "  successThreshold: 50%\n"))
    fleet.commit(manifest("2.0.0", SAFE))
    assert list(fleet.targets()) == ["till-2"]


def test_a_device_without_room_for_twice_the_package_does_not_go_first(fleet: Simulation) -> None:
    say_free(fleet, "till-1", 19)
    say_free(fleet, "till-2", 20)
    fleet.commit(manifest("1.0.0", SAFE))
    assert list(fleet.targets()) == ["till-2"]


def test_the_device_whose_window_opens_soonest_goes_first(fleet: Simulation) -> None:
    for name, zone in (("till-1", "Asia/Tokyo"), ("till-4", "Asia/Kolkata")):
        set_time_zone(fleet, name, zone)
    # It is 08:00 in UTC: 13:30 in India, 17:00 in Japan.
    windows = '  windows: [{allow: {days: Mon-Sun, start: "14:00", length: 2h}}]\n'
    fleet.commit(manifest("1.0.0", SAFE + windows))
    assert list(fleet.targets()) == ["till-4"]


def test_a_device_whose_time_zone_is_known_no_more_goes_last(fleet: Simulation) -> None:
    set_time_zone(fleet, "till-1", "Mars/Olympus")
    set_time_zone(fleet, "till-4", "Asia/Tokyo")
    windows = '  windows: [{allow: {days: Mon-Sun, start: "14:00", length: 2h}}]\n'
    fleet.commit(manifest("1.0.0", SAFE + windows))
    (alone,) = fleet.targets()
    assert alone not in ("till-1", "till-4"), "it opens for the others first"


def test_it_waits_while_no_device_is_safe_enough(fleet: Simulation) -> None:
    for name in fleet.devices:
        say_free(fleet, name, 5)
    fleet.commit(manifest("1.0.0", SAFE))
    assert (state(fleet), fleet.targets()) == (("in_progress", "WaitingForDevices"), {})
    say_free(fleet, "till-3", 500)
    fleet.settle()
    assert list(fleet.targets()) == ["till-3"]


def test_a_failed_install_stops_the_run(fleet: Simulation) -> None:
    fleet.devices["till-1"].breaks = lambda _version: True
    ship(fleet, manifest("1.0.0", SAFE + "  successThreshold: 1%\n"))
    assert state(fleet) == ("paused", "ThresholdNotMet")
    assert (list(fleet.targets()), installed(fleet)) == (["till-1"], {})


def test_one_that_cannot_download_is_replaced_at_most_three_times(fleet: Simulation) -> None:
    fleet.stages_at_once = False
    fleet.commit(manifest("1.0.0", SAFE))
    for n in range(1, 5):
        assert list(fleet.targets())[-1] == f"till-{n}"
        device = fleet.devices[f"till-{n}"]
        (found,) = fleet.wanted(device)
        fleet.report(device, attempt_of(found, TargetState.FAILED, "DownloadFailed"))
        fleet.settle()
    assert holds(fleet) == ["NoEvidence"]
    assert len(fleet.targets()) == 4


def test_one_that_falls_silent_before_its_grant_is_replaced(fleet: Simulation) -> None:
    fleet.stages_at_once = False
    fleet.commit(manifest("1.0.0", SAFE))
    go_online(fleet, "till-1", False)
    fleet.step(5)
    assert outcome(fleet, "till-1") == ["skipped", "OfflineDeferred"]
    assert "till-2" in fleet.targets()
    fleet.stages_at_once = True
    go_online(fleet, "till-1")
    fleet.step(6)
    assert len(installed(fleet)) == 6


def test_turning_it_on_in_a_running_run_changes_nothing_that_is_open(fleet: Simulation) -> None:
    fleet.commit(manifest("1.0.0", SAFE.replace("true", "false").replace("immediate", "canary")))
    run = fleet.run().id
    fleet.commit(manifest("1.0.0", SAFE.replace("immediate", "canary")))
    fleet.step(5)
    assert batch_names(fleet) == ["canary", "rest"]
    assert (fleet.run().id, fleet.run().status) == (run, "completed")


def test_turning_it_off_in_a_running_run_goes_on_with_the_first_batch(fleet: Simulation) -> None:
    canary = SAFE.replace("immediate", "canary")
    fleet.commit(manifest("1.0.0", canary))
    fleet.commit(manifest("1.0.0", canary.replace("true", "false")))
    fleet.step(8)
    assert batch_names(fleet) == ["alone", "canary", "rest"]
    assert fleet.run().status == "completed"


def test_turning_it_on_before_the_start_counts(fleet: Simulation) -> None:
    plan = SAFE + "  start: manual\n"
    fleet.commit(manifest("1.0.0", plan.replace("true", "false")))
    fleet.commit(manifest("1.0.0", plan))
    fleet.verb(Verb.START)
    assert batch_names(fleet) == ["alone"]
    say(fleet, "till-1", TargetState.DOWNLOADING)
    assert len(fleet.targets()) == 1
