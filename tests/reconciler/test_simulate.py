"""Simulations: by the real rules, repeatable, and as the plan and the real run have it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import event, update

from tests.reconciler.simulation import POLL_S, Simulation, manifest
from tests.reconciler.test_rehearsal import head_of, members
from tests.stores import place_of
from towline.reconciler import simulate_making
from towline.reconciler.failure_model import Chance, FailureModel, LabelledRate, Lengths
from towline.reconciler.head import Head
from towline.reconciler.obedient import Obedient
from towline.reconciler.played_fleet import PlayedFleet
from towline.reconciler.rehearsal import Rehearsal
from towline.reconciler.simulate import Simulation as Simulated
from towline.reconciler.simulate import Spread
from towline.reconciler.simulate_fleet import made_up_store
from towline.reconciler.simulate_making import (
    COARSEST,
    FINEST,
    LengthsAsked,
    SimulateOptions,
    make_simulation,
    runs_for,
    tick_for,
)
from towline.reconciler.store import tables as t
from towline.reconciler.store.private_copy import copy_of

CANARY = "  strategy: {type: canary, percentage: 25}\n"
NOW = 1_800_000_000  # a Friday, 08:00 UTC


@pytest.fixture
def fleet(tmp_path: Path) -> Simulation:
    fleet = Simulation(tmp_path, devices=8)
    event.listen(fleet.store.engine, "connect", _without_fsync)
    fleet.store.engine.dispose()
    return fleet


def _without_fsync(connection: Any, _record: Any) -> None:
    connection.execute("PRAGMA synchronous=OFF")


def head(tmp_path: Path, more: str = CANARY, version: str = "2.0.0") -> Head:
    return head_of(Simulation(tmp_path, devices=0), manifest(version, more))


def simulate(wanted: Head, model: FailureModel, devices: int = 40, **options: Any) -> Simulated:
    """Over made-up devices that fit the only Deployment."""
    (only,) = wanted.deployments.values()
    store = made_up_store(wanted, only, devices, model.labelled, NOW)
    asked: dict[str, Any] = {"runs": 1, **options}
    return make_simulation(
        store, None, wanted, SimulateOptions(NOW, POLL_S, "synthetic", model, **asked)
    )


def told(simulated: Simulated) -> Any:
    (found,) = simulated.document()["deployments"]
    return found


def played(fleet: Simulation, wanted: Head, folder: Path) -> Mapping[int, set[str]]:
    """The members of the batches when devices take their time."""
    devices = PlayedFleet(
        FailureModel(), Chance("1"), poll_interval_s=POLL_S, tick_s=POLL_S // FINEST, freezes={}
    )
    return _members(fleet, wanted, folder, devices)


def planned(fleet: Simulation, wanted: Head, folder: Path) -> Mapping[int, set[str]]:
    return _members(fleet, wanted, folder, Obedient())


def _members(fleet: Simulation, wanted: Head, folder: Path, devices: Any) -> Mapping[int, set[str]]:
    store = copy_of(place_of(folder / "towline.db"))
    rehearsal = Rehearsal(store, wanted, devices, now=fleet.now, poll_interval_s=POLL_S)
    rehearsal.play(["app"])
    with rehearsal.store.read() as connection:
        return members(connection)


@pytest.mark.parametrize(
    "more",
    ["  strategy: {type: rolling, batchSize: 30%}\n", f"{CANARY}  soak: 10m\n  maxConcurrent: 2\n"],
)
def test_plan_simulation_and_the_real_run_have_the_same_batches(
    fleet: Simulation, tmp_path: Path, more: str
) -> None:
    document = manifest("1.0.0", more)
    wanted = head_of(fleet, document)
    by_plan, by_simulation = planned(fleet, wanted, tmp_path), played(fleet, wanted, tmp_path)
    fleet.commit(document)
    fleet.step(40)
    assert fleet.run().status == "completed"
    with fleet.store.read() as connection:
        assert by_plan == by_simulation == members(connection)


def test_without_failures_all_devices_are_updated(tmp_path: Path) -> None:
    found = told(simulate(head(tmp_path), FailureModel()))
    assert found["endings"][0]["status"] == "completed"
    assert (found["updated"]["p50"], found["harmed"]["p50"]) == (40, 0)
    assert [batch["members"]["p50"] for batch in found["batches"]] == [10, 30]


def test_a_bad_release_stops_at_the_canary_and_harms_nobody_else(tmp_path: Path) -> None:
    found = told(simulate(head(tmp_path), FailureModel(bad_rate=1.0)))
    assert (found["endings"][0]["status"], found["endings"][0]["reason"]) == (
        "paused",
        "ThresholdNotMet",
    )
    (canary,) = found["batches"]
    assert found["harmed"]["p50"] == canary["failed"]["p50"] == canary["members"]["p50"] == 10
    assert found["finish"] is None


def test_the_gate_stops_further_grants_of_a_batch(tmp_path: Path) -> None:
    """With one device at a time the first failure is enough."""
    found = told(
        simulate(head(tmp_path, f"{CANARY}  maxConcurrent: 1\n"), FailureModel(bad_rate=1.0))
    )
    assert found["harmed"]["max"] == 1


def test_the_same_seed_gives_the_same_answer_and_another_one_another(tmp_path: Path) -> None:
    model = FailureModel(bad_rate=0.3, offline=0.2)
    wanted = head(tmp_path)
    texts = [
        json.dumps(simulate(wanted, model, seed=seed).document()["deployments"])
        for seed in (7, 7, 8)
    ]
    assert texts[0] == texts[1] != texts[2]


def test_a_window_delays_the_installs(tmp_path: Path) -> None:
    window = '  windows: [{allow: {days: Mon-Sun, start: "20:00", length: 4h}, timeZone: UTC}]\n'
    found = told(simulate(head(tmp_path, f"{CANARY}{window}"), FailureModel(), devices=8))
    assert found["finish"]["p50"] >= 12 * 3600 - NOW % 3600
    assert "WaitingForWindow" in {each["reason"] for each in found["waits"]}


def test_a_device_whose_time_zone_is_known_no_more_is_played_as_one_that_never_opens(
    fleet: Simulation, tmp_path: Path
) -> None:
    with fleet.store.write() as connection:
        connection.execute(
            update(t.edge_devices)
            .where(t.edge_devices.c.slug == "till-1")
            .values(time_zone="Mars/Olympus")
        )
    windows = '  windows: [{allow: {days: Mon-Sun, start: "20:00", length: 4h}}]\n'
    wanted = head_of(fleet, manifest("1.0.0", f"  strategy: immediate\n{windows}"))
    options = SimulateOptions(fleet.now, POLL_S, "store", FailureModel(), runs=1)
    found = told(
        make_simulation(copy_of(place_of(tmp_path / "towline.db")), fleet.head, wanted, options)
    )
    assert found["updated"]["p50"] == 7


def test_devices_that_stay_away_are_deferred_and_those_that_return_are_not(
    tmp_path: Path,
) -> None:
    wanted = head(tmp_path)
    gone = told(simulate(wanted, FailureModel(offline=0.3), devices=16))
    assert gone["deferred"]["p50"] + gone["updated"]["p50"] == 16
    assert gone["deferred"]["p50"] > 0
    assert gone["finish"]["p50"] >= 86400
    back = told(simulate(wanted, FailureModel(offline=0.3, offline_for_s=3600), devices=16))
    assert (back["deferred"]["p50"], back["updated"]["p50"]) == (0, 16)


def test_people_take_the_time_that_is_said(tmp_path: Path) -> None:
    wanted = head(tmp_path, f"{CANARY}  start: manual\n")
    at_once = told(simulate(wanted, FailureModel(), devices=4))
    later = told(simulate(wanted, FailureModel(), devices=4, people_after_s=7200))
    assert later["finish"]["p50"] - at_once["finish"]["p50"] == 7200
    assert {"reason": "WaitingForStart", "runs": 1, "seconds": {"p50": 7200} | {
        "p95": 7200, "max": 7200}} in later["waits"]  # fmt: skip


def test_a_rate_may_be_of_one_label(tmp_path: Path) -> None:
    model = FailureModel(labelled=(LabelledRate("hw", "v1", 1.0),))
    found = told(simulate(head(tmp_path, "  strategy: immediate\n"), model))
    assert found["harmed"]["p50"] == 4


def test_a_failed_gate_with_rollback_sends_the_others_home(tmp_path: Path) -> None:
    more = "  strategy: immediate\n  onFailure: rollback\n"
    found = told(simulate(head(tmp_path, more), FailureModel(bad_rate=0.5)))
    assert (found["endings"][0]["status"], found["updated"]["p50"]) == ("failed", 0)


def test_lengths_are_asked_for_or_come_from_the_past_of_the_fleet(
    fleet: Simulation, tmp_path: Path
) -> None:
    fleet.commit(manifest("1.0.0"))
    fleet.step(6)
    store, wanted = copy_of(place_of(tmp_path / "towline.db")), head_of(fleet, manifest("2.0.0"))
    options = SimulateOptions(fleet.now, POLL_S, "store", FailureModel(), runs=1)
    of_the_past = make_simulation(store, fleet.head, wanted, options).model.lengths
    assert of_the_past == Lengths(0, 0, 0)  # played devices install in no time
    asked = SimulateOptions(
        fleet.now, POLL_S, "store", FailureModel(), lengths=LengthsAsked(5, 6, 7), runs=1
    )
    assert make_simulation(store, fleet.head, wanted, asked).model.lengths == Lengths(5, 6, 7)


@given(st.lists(st.integers(0, 1000), min_size=1))
def test_a_spread_covers_its_share_of_the_values(values: list[int]) -> None:
    spread = Spread.of(values)
    assert spread is not None
    assert spread.p50 <= spread.p95 <= spread.max == max(values)
    for figure, share in ((spread.p50, 50), (spread.p95, 95)):
        assert sum(value <= figure for value in values) * 100 >= share * len(values)
        assert sum(value < figure for value in values) * 100 < share * len(values)


@given(st.floats(0, 1), st.integers(1, 10**6))
def test_a_device_on_which_a_release_fails_fails_again(rate: float, device: int) -> None:
    drawn = {Chance("1").is_bad(device, "aa", rate) for _ in range(2)}
    assert len(drawn) == 1
    assert not Chance("1").is_bad(device, "aa", 0.0)


@given(st.integers(0, 10**6), st.integers(1, 3600))
def test_large_fleets_are_played_less_often_and_looked_at_less_finely(
    devices: int, poll_s: int
) -> None:
    assert runs_for(devices) >= runs_for(devices + 1) >= 1
    assert 1 <= tick_for(devices, poll_s) <= tick_for(devices + 1, poll_s) <= max(1, poll_s)


def test_a_large_fleet_looked_at_less_finely_finishes_when_it_would(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many turns of few slots: what a tick rounds must not add up."""
    wanted = head(tmp_path, "  strategy: immediate\n  maxConcurrent: 5\n")
    finishes = []
    for tick_s in (POLL_S // FINEST, POLL_S // COARSEST):
        monkeypatch.setattr(simulate_making, "tick_for", lambda *_, tick_s=tick_s: tick_s)
        finishes.append(told(simulate(wanted, FailureModel(), devices=40))["finish"]["p50"])
    assert finishes[1] == pytest.approx(finishes[0], rel=0.08)
