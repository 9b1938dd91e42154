"""Acts, silences and clocks that meet: nobody is stuck, nobody is sent where they should not be."""

from pathlib import Path

import pytest
from sqlalchemy import select, update

from tests.reconciler.simulation import ORGANIZATION, PlayedDevice, Simulation, attempt_of, manifest
from tests.reconciler.waking import shown
from towline.reconciler import passing
from towline.reconciler.acts import Act, NotAllowed
from towline.reconciler.device_acts import act_on_device
from towline.reconciler.ingest import mark_fetched
from towline.reconciler.store import dirt
from towline.reconciler.store import tables as t
from towline.reconciler.store.presence import mark_seen
from towline.schemas.states import TargetState, Verb

AT_ONCE = "  strategy: immediate\n"


def home(folder: Path, devices: int) -> Simulation:
    """A fleet on 1.0.0."""
    fleet = Simulation(folder, devices)
    fleet.commit(manifest("1.0.0", AT_ONCE))
    fleet.step(6)
    assert fleet.run().status == "completed"
    return fleet


def versions(fleet: Simulation) -> dict[str, str]:
    return {name: each.installed["app"].version for name, each in fleet.devices.items()}


def verb_on(fleet: Simulation, device: str, verb: Verb) -> None:
    act_on_device(
        fleet.store,
        ORGANIZATION,
        fleet.run().id,
        device,
        verb,
        author="ops",
        reason="so",
        now=fleet.now,
    )
    fleet.settle()


def fetch(fleet: Simulation, device: PlayedDevice) -> None:
    """It fetches its document and does nothing."""
    with fleet.store.write() as connection:
        mark_seen(connection, {device.seq: fleet.now})
        mark_fetched(connection, fleet.now, {(device.seq, "app")})


def selected(fleet: Simulation) -> list[str]:
    return [name for name, state in fleet.targets().items() if state == "pending"]


def test_a_device_on_its_way_back_stays_on_it_when_the_whole_run_is_rolled_back(
    tmp_path: Path,
) -> None:
    fleet = home(tmp_path, 4)
    fleet.commit(manifest("2.0.0", AT_ONCE))
    fleet.step(6)
    fleet.devices["till-1"].is_online = False
    fleet.step(4)
    verb_on(fleet, "till-1", Verb.ROLLBACK)
    fleet.verb(Verb.ROLLBACK)
    fleet.devices["till-1"].is_online = True
    fleet.step(6)
    assert set(versions(fleet).values()) == {"1.0.0"}


def test_a_device_on_its_way_back_stays_on_it_when_the_run_is_cancelled(tmp_path: Path) -> None:
    fleet = home(tmp_path, 4)
    fleet.commit(manifest("2.0.0", "  strategy: canary\n  soak: 10h\n"))
    fleet.step(6)
    (canary,) = [name for name, version in versions(fleet).items() if version == "2.0.0"]
    fleet.devices[canary].is_online = False
    fleet.step(4)
    verb_on(fleet, canary, Verb.ROLLBACK)
    fleet.verb(Verb.CANCEL)
    fleet.devices[canary].is_online = True
    fleet.step(4)
    assert set(versions(fleet).values()) == {"1.0.0"}


def test_a_device_that_comes_back_has_its_time_to_prepare_anew(tmp_path: Path) -> None:
    fleet = home(tmp_path, 10)
    fleet.stages_at_once = False
    fleet.commit(manifest("2.0.0", "  strategy: {type: canary, percentage: 20}\n"))
    silent = fleet.devices[selected(fleet)[0]]
    fetch(fleet, silent)
    silent.is_online = False
    fleet.step(5)
    assert fleet.targets()[silent.name] == "OfflineDeferred"
    fleet.stages_at_once = True
    fleet.step(3)
    fleet.stages_at_once = False
    for _ in range(70):
        fetch(fleet, silent)
        fleet.step()
    assert fleet.targets()[silent.name] == "failed", "nothing was staged within deviceTimeout"
    assert fleet.run().status == "completed"


def test_an_offline_after_below_three_polls_does_not_send_a_device_to_and_fro(
    tmp_path: Path,
) -> None:
    fleet = home(tmp_path, 4)
    fleet.stages_at_once = False
    fleet.commit(manifest("2.0.0", f"{AT_ONCE}  offline: {{after: 1m}}\n"))
    fleet.devices["till-1"].is_online = False
    fleet.step(8)
    with fleet.store.read() as connection:
        kinds = list(connection.execute(select(t.events.c.kind)).scalars())
    assert kinds.count("target.deferred") == 1
    assert fleet.targets()["till-1"] == "OfflineDeferred"


def test_a_batch_whose_filters_own_nobody_passes_at_once(tmp_path: Path) -> None:
    fleet = home(tmp_path, 4)
    batches = "[{name: lab, filters: {labels: {stage: lab}}, size: 100%}, {name: half, size: 50%}]"
    fleet.commit(manifest("2.0.0", f"  strategy: {{type: batches, batches: {batches}}}\n"))
    fleet.step(8)
    assert (fleet.run().status, set(versions(fleet).values())) == ("completed", {"2.0.0"})


def test_a_pause_before_the_last_step_leaves_a_run_that_can_be_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = Simulation(tmp_path, 2)
    monkeypatch.setattr(passing, "STEPS_LIMIT", 1)
    fleet.commit(manifest("1.0.0", AT_ONCE))
    for step in range(200):
        if step % 10 == 0:
            fleet.now += 60
            for device in fleet.devices.values():
                fleet.poll(device)
        fleet.settle()
        with fleet.store.read() as connection:
            states = list(connection.execute(select(t.batches.c.state)).scalars())
        if states == ["passed"]:
            break
    assert fleet.run().status == "in_progress", "passed, and not completed yet"
    fleet.verb(Verb.PAUSE)
    for _ in range(4):
        fleet.settle()
    assert shown(fleet) == ("paused", "PausedByUser")
    fleet.verb(Verb.RESUME)
    for _ in range(4):
        fleet.settle()
    assert fleet.run().status == "completed"


def test_a_rollback_does_not_wait_for_git(tmp_path: Path) -> None:
    fleet = home(tmp_path, 4)
    fleet.commit(manifest("2.0.0", AT_ONCE))
    fleet.step(6)
    with fleet.store.write() as connection:
        connection.execute(update(t.repositories).values(last_fetch_at=fleet.now - 90_000))
    fleet.verb(Verb.ROLLBACK)
    fleet.step(5)
    assert (fleet.run().reason, set(versions(fleet).values())) == ("RolledBack", {"1.0.0"})


def test_silent_devices_on_their_way_back_have_a_clock(tmp_path: Path) -> None:
    fleet = home(tmp_path, 10)
    fleet.commit(manifest("2.0.0", "  strategy: {type: canary, percentage: 20}\n  soak: 10h\n"))
    fleet.step(5)
    fleet.verb(Verb.ROLLBACK)
    for device in fleet.devices.values():
        device.is_online = False
    for _ in range(8):
        fleet.step()
        run = fleet.run()
        assert (run.status, run.next_due is not None) == ("in_progress", True)


def test_the_end_of_a_pause_is_no_clock_of_a_deployment_that_is_gone(tmp_path: Path) -> None:
    fleet = Simulation(tmp_path, 3)
    fleet.commit(manifest("1.0.0", AT_ONCE))
    fleet.verb(Act(Verb.PAUSE, pause_s=120))
    fleet.commit()
    fleet.step(5)
    with fleet.store.read() as connection:
        assert dirt.due(connection, ORGANIZATION, fleet.now) == []


def test_a_retry_of_safe_mode_sends_one_device_alone_again(tmp_path: Path) -> None:
    fleet = home(tmp_path, 10)
    fleet.step(2)
    fleet.stages_at_once = False
    fleet.commit(manifest("2.0.0", f"{AT_ONCE}  safeMode: true\n"))
    for _ in range(4):
        (name,) = selected(fleet)
        device = fleet.devices[name]
        fetch(fleet, device)
        failed = attempt_of(fleet.wanted(device)[0], TargetState.FAILED, "DownloadFailed")
        fleet.report(device, failed)
        fleet.settle()
    assert shown(fleet) == ("paused", "NoEvidence")
    fleet.verb(Verb.RETRY)
    assert len(selected(fleet)) == 1


def test_a_device_that_is_retried_in_a_passed_batch_prepares_at_once(tmp_path: Path) -> None:
    fleet = home(tmp_path, 20)
    batches = "[{name: a, size: 20%, successThreshold: 50%}, {name: b, size: 50%, soak: 5h}]"
    fleet.commit(manifest("2.0.0", f"  strategy: {{type: batches, batches: {batches}}}\n"))
    first = selected(fleet)[0]
    fleet.devices[first].breaks = lambda version: version == "2.0.0"
    fleet.step(6)
    assert fleet.run().reason == "Soaking"
    fleet.devices[first].breaks = lambda _: False
    verb_on(fleet, first, Verb.RETRY)
    with fleet.store.read() as connection:
        reason = connection.execute(
            select(t.targets.c.reason).where(
                t.targets.c.run_seq == fleet.run().seq,
                t.targets.c.device_seq == fleet.devices[first].seq,
            )
        ).scalar_one()
    assert reason == "Staged"


def test_an_emergency_pause_is_laid_beside_the_hold_that_stands(tmp_path: Path) -> None:
    fleet = home(tmp_path, 4)
    batches = "[{name: half, size: 50%, approval: manual}]"
    fleet.commit(manifest("2.0.0", f"  strategy: {{type: batches, batches: {batches}}}\n"))
    fleet.step(4)
    assert shown(fleet) == ("paused", "WaitingForApproval")
    with pytest.raises(NotAllowed):
        fleet.verb(Verb.PAUSE)
    fleet.verb(Act(Verb.PAUSE, beside_holds=True))
    fleet.verb(Verb.APPROVE)
    fleet.step(4)
    assert shown(fleet) == ("paused", "PausedByUser")
    fleet.verb(Verb.RESUME)
    fleet.step(4)
    assert fleet.run().status == "completed"


def test_a_completed_run_that_heals_can_be_paused_and_resumed(tmp_path: Path) -> None:
    fleet = home(tmp_path, 3)
    fleet.verb(Act(Verb.PAUSE, beside_holds=True))
    fleet.enrol("till-late")
    fleet.step(4)
    assert "app" not in fleet.devices["till-late"].installed
    fleet.verb(Verb.RESUME)
    fleet.step(4)
    assert "app" in fleet.devices["till-late"].installed
