"""Who is a target: owners, replacements, packages by type, devices named by hand, what is kept."""

from pathlib import Path

import pytest

from tests.reconciler.looking import (
    AT_ONCE,
    ONE,
    device_verb,
    drift,
    finish,
    go_online,
    granted,
    installed,
    outcome,
    say,
    ship,
    state,
    told,
    twin,
)
from tests.reconciler.simulation import Simulation, checksum, manifest
from towline.reconciler.acts import NotAllowed, Unknown
from towline.schemas.states import TargetState, Verb

MANUAL = "  strategy: manual\n  filters: {devices: [till-2]}\n"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Simulation:
    """Three devices that completed 1.0.0."""
    fleet = Simulation(tmp_path_factory.mktemp("base"), devices=3)
    ship(fleet, manifest("1.0.0", AT_ONCE))
    return fleet


@pytest.fixture
def fleet(base: Simulation, tmp_path: Path) -> Simulation:
    return twin(base, tmp_path)


def rival(version: str, more: str = AT_ONCE, name: str = "{name: rival}") -> str:
    """Another Deployment of the same component."""
    return manifest(version, more).replace("{name: app}", name)


def two(more: str = AT_ONCE) -> str:
    return manifest("2.0.0", more)


def test_the_run_that_holds_a_target_keeps_the_device_until_the_conflict_ends(
    fleet: Simulation,
) -> None:
    fleet.commit(two(ONE))
    say(fleet, "till-1", TargetState.INSTALLING)
    mine = "  filters: {devices: [till-1]}\n"
    fleet.commit(two(ONE), rival("5.0.0", AT_ONCE + mine))
    assert outcome(fleet, "till-1", name="rival") == ["skipped", "OwnedByOther"]
    fleet.step(8)
    assert installed(fleet)["till-1"] == "2.0.0"
    fleet.commit(two(ONE + "  filters: {exclude: [till-1]}\n"), rival("5.0.0", AT_ONCE + mine))
    fleet.step(4)
    assert installed(fleet)["till-1"] == "5.0.0"
    assert outcome(fleet, "till-1", name="rival") == ["completed", ""]
    assert told(fleet, "till-1") == ("keep", "5.0.0")


def test_where_neither_holds_a_target_nobody_gets_the_device(tmp_path: Path) -> None:
    fleet = Simulation(tmp_path, devices=2)
    fleet.commit(manifest("1.0.0", AT_ONCE), rival("5.0.0"))
    fleet.step(4)
    assert installed(fleet) == {}
    fleet.commit(manifest("1.0.0", AT_ONCE))
    fleet.step(4)
    assert set(installed(fleet).values()) == {"1.0.0"}


def test_a_replacement_takes_devices_over_without_a_conflict(fleet: Simulation) -> None:
    fleet.commit(two(ONE))
    say(fleet, "till-1", TargetState.INSTALLING)
    newer = rival("5.0.0", AT_ONCE, "{name: rival, replaces: [app]}")
    fleet.commit(two(ONE), newer)
    assert outcome(fleet, "till-2", "2.0.0") == ["skipped", "NoLongerMatches"]
    fleet.step(6)
    assert set(installed(fleet).values()) == {"5.0.0"}


def test_a_device_gets_the_package_of_its_type(tmp_path: Path) -> None:
    fleet = Simulation(tmp_path, devices=0)
    for kind in ("pi", "x86", "mips"):
        fleet.enrol(f"till-{kind}", kind)
    text = manifest("1.0.0", AT_ONCE)
    package = next(line for line in text.splitlines() if line.startswith("  package:"))
    by_type = "  packages:\n" + "".join(
        f"    - {{url: app-1.0.0.tar.gz, checksum: 'sha256:{checksum('1.0.0')}',"
        f" deviceTypes: [{kind}]}}\n"
        for kind in ("pi", "x86")
    )
    ship(fleet, text.replace(package, by_type.rstrip()))
    assert sorted(installed(fleet)) == ["till-pi", "till-x86"]
    assert outcome(fleet, "till-mips") == ["skipped", "NoPackageForDevice"]


def test_more_devices_are_named_by_hand_also_after_completion(fleet: Simulation) -> None:
    fleet.commit(two(MANUAL + "  selfHeal: false\n"))
    fleet.step(3)
    assert fleet.run().status == "completed"
    device_verb(fleet, Verb.START, "till-3")
    fleet.step(3)
    assert installed(fleet) == {"till-1": "1.0.0", "till-2": "2.0.0", "till-3": "2.0.0"}
    drift(fleet, "till-3")
    fleet.step(2)
    assert installed(fleet)["till-3"] == "0.0.1"


def test_naming_a_device_starts_a_run_that_waits_for_it(fleet: Simulation) -> None:
    fleet.commit(two(MANUAL + "  start: manual\n"))
    fleet.step()
    assert state(fleet) == ("pending", "WaitingForStart")
    device_verb(fleet, Verb.START, "till-1")
    fleet.step(3)
    assert installed(fleet)["till-1"] == "2.0.0"


def test_devices_are_named_only_where_the_strategy_is_manual(fleet: Simulation) -> None:
    with pytest.raises(NotAllowed, match="manual"):
        device_verb(fleet, Verb.START, "till-1")
    fleet.commit(two(MANUAL))
    with pytest.raises(Unknown):
        device_verb(fleet, Verb.START, "nobody")


def test_no_device_is_named_for_a_run_that_is_final(fleet: Simulation) -> None:
    fleet.commit(two(MANUAL))
    fleet.verb(Verb.CANCEL)
    with pytest.raises(NotAllowed, match="retry"):
        device_verb(fleet, Verb.START, "till-3")


@pytest.mark.parametrize("end", ["cancel", "remove", "abort", "supersede"])
def test_when_a_run_ends_each_device_is_told_by_how_far_it_came(
    fleet: Simulation, end: str
) -> None:
    fleet.enrol("till-4")
    more = AT_ONCE + "  maxConcurrent: 3\n  order: name\n  onFailure: abort\n"
    fleet.commit(two(more))
    done = say(fleet, "till-1", TargetState.INSTALLING)
    finish(fleet, "till-1", done)
    fleet.report(fleet.devices["till-1"])
    say(fleet, "till-2", TargetState.DOWNLOADING)
    begun = say(fleet, "till-3", TargetState.INSTALLING)
    end_run(fleet, end)
    why = "Superseded" if end == "supersede" else "Cancelled"
    if end != "abort":
        assert told(fleet, "till-1") == ("keep", "2.0.0")
    assert outcome(fleet, "till-2", "2.0.0") == ["skipped", why]
    assert told(fleet, "till-2") == ("keep", "1.0.0")
    assert told(fleet, "till-3") == ("install", "2.0.0")
    assert told(fleet, "till-4") is None
    finish(fleet, "till-3", begun)
    fleet.report(fleet.devices["till-3"])
    assert outcome(fleet, "till-3", "2.0.0") == ["completed", ""]
    assert told(fleet, "till-3") == ("keep", "2.0.0")


def end_run(fleet: Simulation, how: str) -> None:
    """End the newest run in one of the ways there are."""
    if how == "cancel":
        fleet.verb(Verb.CANCEL)
    elif how == "remove":
        fleet.commit()
    elif how == "supersede":
        fleet.stages_at_once = False
        fleet.commit(manifest("3.0.0", AT_ONCE + "  start: manual\n"))
    else:
        # A device that completed reports another version: the only batch cannot pass any more.
        drift(fleet, "till-1")
    assert granted(fleet) == ["till-3"]


def test_a_device_that_failed_keeps_the_last_run_that_it_completed(fleet: Simulation) -> None:
    fleet.devices["till-1"].breaks = lambda version: version == "2.0.0"
    ship(fleet, two(AT_ONCE + "  successThreshold: 50%\n"))
    assert told(fleet, "till-1") == ("keep", "1.0.0")
    assert told(fleet, "till-2") == ("keep", "2.0.0")


def test_a_time_out_withdraws_the_grant(fleet: Simulation) -> None:
    fleet.commit(two(AT_ONCE + "  deviceTimeout: 5m\n"))
    say(fleet, "till-1", TargetState.DOWNLOADING)
    go_online(fleet, "till-1", False)
    fleet.step(7)
    assert outcome(fleet, "till-1") == ["failed", "TimedOut"]
    assert told(fleet, "till-1") == ("keep", "1.0.0")
