"""Prepare and grant: staged first, within maxConcurrent, one install at a time; and the clocks."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import true, update

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
from tests.reconciler.simulation import Simulation, attempt_of, manifest
from tests.soaking import examples
from towline.reconciler.ingest import mark_fetched
from towline.reconciler.store import slots
from towline.reconciler.store import tables as t
from towline.reconciler.store.labels import intern_labels
from towline.schemas.states import TargetState, Verb

CANARY = "  strategy: canary\n  order: name\n"
SHORT = "  deviceTimeout: 10m\n"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Simulation:
    """Four devices that run nothing."""
    return Simulation(tmp_path_factory.mktemp("base"), devices=4)


@pytest.fixture
def fleet(base: Simulation, tmp_path: Path) -> Simulation:
    return twin(base, tmp_path)


def one(more: str = AT_ONCE) -> str:
    return manifest("1.0.0", more)


def test_nothing_is_granted_before_it_is_staged(fleet: Simulation) -> None:
    fleet.stages_at_once = False
    fleet.commit(one())
    assert (granted(fleet), state(fleet)[1]) == ([], "Preparing")
    assert told(fleet, "till-2") == ("prepare", "1.0.0")
    say(fleet, "till-2", "Preparing", "Staged")
    fleet.settle()
    assert granted(fleet) == ["till-2"]
    assert told(fleet, "till-2") == ("install", "1.0.0")


def test_staged_devices_are_granted_in_the_order_of_the_run(fleet: Simulation) -> None:
    fleet.stages_at_once = False
    fleet.commit(one(ONE))
    for name in ("till-4", "till-2", "till-3"):
        say(fleet, name, "Staged")
    fleet.settle()
    assert granted(fleet) == ["till-2"]


def test_a_device_that_does_not_stage_in_time_is_excused_and_replaced(fleet: Simulation) -> None:
    fleet.stages_at_once = False
    fleet.commit(one(CANARY + SHORT))
    assert list(fleet.targets()) == ["till-1"]
    say_fetched(fleet, "till-1")
    still_alive(fleet, minutes=11)
    assert outcome(fleet, "till-1") == ["failed", "DownloadFailed"]
    assert fleet.targets()["till-2"] == "pending"
    assert fleet.run().status == "in_progress"


def say_fetched(fleet: Simulation, *names: str) -> None:
    """The document was served; nothing came of it yet."""
    with fleet.store.write() as connection:
        mark_fetched(connection, fleet.now, {(fleet.devices[name].seq, "app") for name in names})


def still_alive(fleet: Simulation, minutes: int) -> None:
    """Everybody who is online polls, and nobody does any work."""
    for _ in range(minutes):
        fleet.now += 60
        for device in fleet.devices.values():
            if device.is_online:
                fleet.report(device)
        fleet.settle()


def test_a_pause_leaves_what_is_staged_and_grants_nothing(fleet: Simulation) -> None:
    fleet.commit(one(ONE))
    fleet.verb(Verb.PAUSE)
    assert granted(fleet) == []
    assert outcome(fleet, "till-1") == ["pending", "Staged"]
    assert told(fleet, "till-1") == ("prepare", "1.0.0")
    still_alive(fleet, 2)
    assert granted(fleet) == []
    fleet.verb(Verb.RESUME)
    assert granted(fleet) == ["till-1"]


def test_one_install_at_a_time_over_all_components_of_a_device(fleet: Simulation) -> None:
    fleet.commit(one(), manifest("1.0.0", AT_ONCE, name="db"))
    assert len(granted(fleet)) == 4
    assert granted(fleet, "db") == []
    fleet.step()
    assert len(granted(fleet, "db")) == 4
    fleet.step(3)
    assert len(installed(fleet, "db")) == 4


def test_a_grant_that_is_not_fetched_within_three_polls_is_taken_back_and_replaced(
    fleet: Simulation,
) -> None:
    fleet.commit(one(CANARY))
    assert granted(fleet) == ["till-1"]
    go_online(fleet, "till-1", False)
    fleet.step(4)
    assert outcome(fleet, "till-1") == ["skipped", "OfflineDeferred"]
    assert "till-2" in fleet.targets()
    go_online(fleet, "till-1")
    fleet.step(5)
    assert fleet.run().status == "completed"
    assert len(installed(fleet)) == 4


def test_whoever_says_while_it_is_deferred_that_all_is_staged_need_not_say_it_again(
    fleet: Simulation,
) -> None:
    fleet.stages_at_once = False
    fleet.commit(one(CANARY))
    device, asked = fleet.devices["till-1"], component(fleet, "till-1")
    assert asked is not None
    device.etag = fleet.wanted(device)  # it has fetched it, and downloads for long
    go_online(fleet, "till-1", False)
    fleet.step(4)
    assert outcome(fleet, "till-1") == ["skipped", "OfflineDeferred"]
    fleet.report(device, attempt_of(asked, TargetState.PENDING, "Staged"))
    assert outcome(fleet, "till-1") == ["skipped", "OfflineDeferred"]
    fleet.step(2)  # the last batch opens before it polls, and asks it for what it has
    assert outcome(fleet, "till-1")[0] == "pending"
    go_online(fleet, "till-1")
    fleet.step(6)
    assert installed(fleet)["till-1"] == "1.0.0"


def test_in_the_last_batch_a_grant_that_is_not_fetched_frees_its_slot(fleet: Simulation) -> None:
    fleet.commit(one(ONE))
    go_online(fleet, "till-1", False)
    fleet.step(2)
    assert granted(fleet) == ["till-1"]
    fleet.step(4)
    assert outcome(fleet, "till-1")[0] == "pending"
    assert len(installed(fleet)) >= 2
    go_online(fleet, "till-1")
    fleet.step(3)
    assert installed(fleet)["till-1"] == "1.0.0"


def test_a_device_that_was_not_seen_lately_is_not_granted(fleet: Simulation) -> None:
    fleet.stages_at_once = False
    fleet.commit(one())
    say(fleet, "till-1", "Staged")
    fleet.now += 200
    fleet.settle()
    assert granted(fleet) == []


@pytest.mark.parametrize("reason", ["WaitingForWindow", "Locked", "MeteredLink"])
def test_device_timeout_stands_still_while_the_device_waits(fleet: Simulation, reason: str) -> None:
    fleet.commit(one(AT_ONCE + SHORT + "  filters: {devices: [till-1]}\n"))
    say_fetched(fleet, "till-1")
    deadline = target(fleet, "till-1").deadline
    still_alive(fleet, 5)
    say(fleet, "till-1", reason)
    still_alive(fleet, 15)
    assert outcome(fleet, "till-1") == ["pending", reason]
    assert state(fleet)[1] == "WaitingForWindow"
    say(fleet, "till-1", TargetState.INSTALLING)
    assert target(fleet, "till-1").deadline == deadline + 15 * 60
    still_alive(fleet, 4)
    assert outcome(fleet, "till-1")[0] == "installing"
    still_alive(fleet, 2)
    assert outcome(fleet, "till-1") == ["failed", "TimedOut"]


def test_device_timeout_goes_on_while_the_device_waits_to_retry(fleet: Simulation) -> None:
    fleet.commit(one(AT_ONCE + SHORT + "  filters: {devices: [till-1]}\n"))
    say_fetched(fleet, "till-1")
    say(fleet, "till-1", "WaitingForRetry")
    still_alive(fleet, 9)
    assert outcome(fleet, "till-1") == ["pending", "WaitingForRetry"]
    still_alive(fleet, 2)
    assert outcome(fleet, "till-1") == ["failed", "TimedOut"]


def test_a_device_that_waits_and_then_falls_silent_does_not_hold_the_run_for_ever(
    fleet: Simulation,
) -> None:
    more = AT_ONCE + SHORT + "  offline: {after: 1h}\n  filters: {devices: [till-1, till-2]}\n"
    fleet.commit(one(more))
    say_fetched(fleet, "till-1")
    say(fleet, "till-1", "WaitingForWindow")
    go_online(fleet, "till-1", False)
    fleet.step(3)
    for _ in range(2):
        fleet.now += 1500
        fleet.step()
        assert outcome(fleet, "till-1") == ["pending", "WaitingForWindow"]
    due = fleet.run().next_due
    assert due is not None
    fleet.now += 1500
    fleet.step()
    assert outcome(fleet, "till-1") == ["failed", "TimedOut"]


def test_preparing_has_a_deadline_of_its_own_that_ends_with_staging(fleet: Simulation) -> None:
    fleet.stages_at_once = False
    fleet.commit(one(AT_ONCE + SHORT + "  disruptionBudget: {groupBy: s, maxUnavailable: 1}\n"))
    say_fetched(fleet, "till-1")
    assert target(fleet, "till-1").deadline == fleet.now + 600
    say(fleet, "till-1", "Staged")
    assert target(fleet, "till-1").deadline is None


def test_a_selected_device_whose_labels_leave_the_filters_is_let_go(tmp_path: Path) -> None:
    fleet = Simulation(tmp_path, devices=0)
    for n in (1, 2):
        fleet.enrol(f"till-{n}", region="eu")
    fleet.commit(one(ONE + "  filters: {labels: {region: eu}}\n  offline: {after: 10m}\n"))
    relabel(fleet, "till-2", region="us")
    fleet.now += 6
    fleet.settle()
    assert outcome(fleet, "till-2") == ["skipped", "NoLongerMatches"]


def test_once_granted_a_device_that_leaves_the_filters_finishes(tmp_path: Path) -> None:
    fleet = Simulation(tmp_path, devices=0)
    fleet.enrol("till-1", region="eu")
    fleet.commit(one(ONE + "  filters: {labels: {region: eu}}\n"))
    relabel(fleet, "till-1", region="us")
    fleet.step(3)
    assert outcome(fleet, "till-1") == ["completed", ""]


def relabel(fleet: Simulation, name: str, **labels: str) -> None:
    with fleet.store.write() as connection:
        connection.execute(
            update(t.edge_devices)
            .where(t.edge_devices.c.slug == name)
            .values(label_set_id=intern_labels(connection, labels))
        )


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["Staged", "install", "complete", "fail", "pass", "cut"]),
        st.integers(1, 4),
    ),
    min_size=6,
    max_size=14,
)


def test_who_is_ready_comes_in_pages_and_in_order(
    fleet: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slots, "_LEAST", 1)
    fleet.stages_at_once = False
    fleet.commit(one(AT_ONCE + "  order: name\n"))
    for name in fleet.devices:
        say(fleet, name, "Staged")
    with fleet.store.read() as connection:
        run = fleet.run()
        pages = slots.candidates(connection, run, 0, true(), by_name=True, only_back=False, limit=1)
        found = list(pages)
    assert found == [[1], [2, 3], [4]]


@given(STEPS)
@settings(max_examples=examples(4))
def test_max_concurrent_holds_in_any_order_of_events(
    base: Simulation, tmp_path_factory: pytest.TempPathFactory, steps: Sequence[tuple[str, int]]
) -> None:
    fleet = twin(base, tmp_path_factory.mktemp("life"))
    fleet.stages_at_once = False
    fleet.commit(one(AT_ONCE + "  maxConcurrent: 2\n  deviceTimeout: 5m\n"))
    everybody_stages = [("Staged", n) for n in range(1, 5)]
    for word, n in (*everybody_stages, *steps):
        live(fleet, word, f"till-{n}")
        assert len(granted(fleet)) <= 2
    fleet.store.close()


def live(fleet: Simulation, word: str, name: str) -> None:
    """One event in the life of a device."""
    found, device = component(fleet, name), fleet.devices[name]
    if word == "pass":
        fleet.now += 120
    elif word == "cut":
        device.is_online = not device.is_online
    elif found is not None and word == "Staged":
        say(fleet, name, "Staged")
    elif found is not None and found.action.value == "install":
        say_fetched(fleet, name)
        if word == "complete":
            finish(fleet, name, found)
        else:
            after = TargetState.FAILED if word == "fail" else TargetState.INSTALLING
            fleet.report(device, attempt_of(found, after, "DownloadFailed"))
    still_alive(fleet, 0)
    fleet.settle()


def test_a_former_run_that_finishes_keeps_its_slots(fleet: Simulation) -> None:
    ship(fleet, one())
    fleet.commit(manifest("2.0.0", ONE))
    (name,) = granted(fleet)
    say(fleet, name, TargetState.INSTALLING)
    fleet.commit(manifest("3.0.0", ONE))
    still_alive(fleet, 1)
    assert granted(fleet) == [name]
