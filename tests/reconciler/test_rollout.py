"""Whole rollouts over a played fleet: the real store, decisions and ingest."""

from collections import Counter
from pathlib import Path

import pytest

from tests.reconciler.simulation import Simulation, manifest
from towline.reconciler.acts import NotAllowed
from towline.schemas.states import Verb

NAMED = "  order: name\n  maxConcurrent: 2\n"


@pytest.fixture
def fleet(tmp_path: Path) -> Simulation:
    return Simulation(tmp_path)


def completed(fleet: Simulation, version: str) -> int:
    return sum(
        installed.version == version
        for device in fleet.devices.values()
        for installed in device.installed.values()
    )


def test_a_canary_goes_to_one_device_and_then_to_the_rest(fleet: Simulation) -> None:
    fleet.commit(manifest("1.0.0", "  strategy: canary\n" + NAMED))
    assert Counter(fleet.targets().values()) == {"pending": 1}
    fleet.step(2)
    assert "till-1" in fleet.targets()
    fleet.step(12)
    assert fleet.run().status == "completed"
    assert set(fleet.targets().values()) == {"completed"}
    assert completed(fleet, "1.0.0") == 8


def test_a_bad_release_rolls_back_and_pauses_and_a_revert_brings_the_rest_home(
    fleet: Simulation,
) -> None:
    good = manifest("1.0.0", "  strategy: canary\n" + NAMED)
    fleet.commit(good)
    fleet.step(14)
    for name in ("till-4", "till-5"):
        fleet.devices[name].breaks = lambda version: version == "2.0.0"
    fleet.commit(manifest("2.0.0", "  strategy: canary\n" + NAMED))
    fleet.step(14)
    bad = fleet.run()
    assert (bad.status, bad.reason) == ("paused", "ThresholdNotMet")
    moved = completed(fleet, "2.0.0")
    assert 3 <= moved < 8
    assert "rolled_back" in fleet.targets().values()
    fleet.commit(good)
    assert fleet.run().is_return
    fleet.step(8)
    assert fleet.run().status == "completed"
    assert completed(fleet, "1.0.0") == 8
    assert Counter(fleet.targets().values()) == {"completed": moved}


def test_a_pause_grants_nothing_and_a_resume_goes_on(fleet: Simulation) -> None:
    fleet.commit(manifest("1.0.0", "  strategy: immediate\n  maxConcurrent: 1\n"))
    fleet.step()
    fleet.verb(Verb.PAUSE)
    assert fleet.run().status == "paused"
    before = completed(fleet, "1.0.0")
    fleet.step(3)
    assert completed(fleet, "1.0.0") == before
    fleet.verb(Verb.RESUME)
    fleet.step(18)
    assert fleet.run().status == "completed"


def test_a_device_that_enrols_after_completion_gets_the_release(fleet: Simulation) -> None:
    fleet.commit(manifest("1.0.0", "  strategy: immediate\n"))
    fleet.step(4)
    assert fleet.run().status == "completed"
    fleet.enrol("till-9")
    fleet.settle()
    fleet.step(3)
    assert fleet.devices["till-9"].installed["app"].version == "1.0.0"


def test_a_package_without_a_statement_waits_and_names_it(fleet: Simulation) -> None:
    fleet.commit(manifest("1.0.0"), unsigned=("1.0.0",))
    run = fleet.run()
    assert (run.status, run.reason) == ("pending", "WaitingForStatement")
    assert "releases/app/1.0.0/app-1.0.0.tar.gz.json" in run.message
    with pytest.raises(NotAllowed, match="release sign"):
        fleet.verb(Verb.START)
    fleet.commit(manifest("1.0.0"))
    assert fleet.run().status == "in_progress"


def test_a_silent_device_is_deferred_and_served_when_it_is_back(fleet: Simulation) -> None:
    fleet.devices["till-3"].is_online = False
    fleet.commit(manifest("1.0.0", "  strategy: immediate\n  offline: {after: 10m}\n"))
    fleet.step(14)
    assert fleet.run().status == "completed"
    assert fleet.targets()["till-3"] == "OfflineDeferred"
    fleet.devices["till-3"].is_online = True
    fleet.step(4)
    assert fleet.targets()["till-3"] == "completed"


def test_a_removed_manifest_cancels_what_has_not_begun(fleet: Simulation) -> None:
    fleet.commit(manifest("1.0.0", "  strategy: immediate\n  maxConcurrent: 1\n"))
    fleet.step()
    fleet.commit()
    run = fleet.run()
    assert (run.status, run.reason) == ("cancelled", "ManifestRemoved")
    assert "Cancelled" in fleet.targets().values()


@pytest.mark.parametrize("verb", [None, Verb.CANCEL])
def test_what_had_ended_and_was_removed_begins_anew_when_git_wants_it_again(
    fleet: Simulation, verb: Verb | None
) -> None:
    wanted = manifest("1.0.0", "  strategy: immediate\n")
    fleet.commit(wanted)
    if verb is not None:
        fleet.verb(verb)
    fleet.step(6)
    former = fleet.run()
    assert former.status == ("completed" if verb is None else "cancelled")
    fleet.commit()
    fleet.commit()
    assert fleet.run().seq == former.seq
    assert (fleet.run().status, fleet.run().reason) == (former.status, former.reason)
    fleet.commit(wanted)
    again = fleet.run()
    assert (again.turn, again.revision, again.is_return) == (1, former.revision, False)
    fleet.step(6)
    assert fleet.run().status == "completed"


def test_a_run_that_waits_for_its_start_has_the_devices_that_it_would_take(
    fleet: Simulation,
) -> None:
    fleet.commit(manifest("1.0.0", "  strategy: immediate\n  start: manual\n"))
    assert (fleet.run().status, fleet.run().target_count) == ("pending", 8)


def test_retry_reopens_the_batch_for_its_failed_devices(fleet: Simulation) -> None:
    fleet.commit(manifest("1.0.0", "  strategy: immediate\n"))
    fleet.step(4)
    fleet.devices["till-1"].breaks = lambda version: version == "2.0.0"
    fleet.commit(manifest("2.0.0", "  strategy: canary\n" + NAMED))
    fleet.step(4)
    assert fleet.run().reason == "ThresholdNotMet"
    with pytest.raises(NotAllowed, match="accept"):
        fleet.verb(Verb.RESUME)
    fleet.devices["till-1"].breaks = lambda _version: False
    fleet.verb(Verb.RETRY)
    fleet.step(14)
    assert fleet.run().status == "completed"
    assert completed(fleet, "2.0.0") == 8
