"""Rollback of one device pins it there, until the next revision or until it is tried again."""

from pathlib import Path

import pytest
from sqlalchemy import update

from tests.reconciler.looking import (
    AT_ONCE,
    ONE,
    device_verb,
    drift,
    go_online,
    granted,
    installed,
    outcome,
    ship,
    state,
    told,
    twin,
)
from tests.reconciler.simulation import Simulation, manifest
from towline.reconciler.acts import NotAllowed
from towline.reconciler.store import reading_devices
from towline.reconciler.store import tables as t
from towline.schemas.states import Verb


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Simulation:
    """Three devices that came from 1.0.0 to 2.0.0."""
    fleet = Simulation(tmp_path_factory.mktemp("base"), devices=3)
    ship(fleet, manifest("1.0.0", AT_ONCE))
    ship(fleet, manifest("2.0.0", AT_ONCE))
    return fleet


@pytest.fixture
def fleet(base: Simulation, tmp_path: Path) -> Simulation:
    return twin(base, tmp_path)


@pytest.fixture
def pinned(fleet: Simulation) -> Simulation:
    device_verb(fleet, Verb.ROLLBACK, "till-1")
    assert told(fleet, "till-1") == ("rollback", "1.0.0")
    fleet.step(2)
    return fleet


def test_one_device_goes_back_alone_and_keeps_it(pinned: Simulation) -> None:
    assert installed(pinned) == {"till-1": "1.0.0", "till-2": "2.0.0", "till-3": "2.0.0"}
    assert outcome(pinned, "till-1") == ["rolled_back", "RolledBackByUser"]
    assert pinned.run().status == "completed"
    assert told(pinned, "till-1") == ("keep", "1.0.0")


def test_a_pinned_device_is_not_healed(pinned: Simulation) -> None:
    drift(pinned, "till-1")
    pinned.step(3)
    assert granted(pinned) == []
    assert outcome(pinned, "till-1") == ["rolled_back", "RolledBackByUser"]


def test_a_later_run_of_the_same_revision_leaves_a_pinned_device_out(fleet: Simulation) -> None:
    ship(fleet, manifest("3.0.0", ONE), steps=2)
    device_verb(fleet, Verb.ROLLBACK, "till-1")
    fleet.verb(Verb.CANCEL)
    fleet.verb(Verb.RETRY)
    fleet.step(5)
    assert outcome(fleet, "till-1") == ["skipped", "Excluded"]
    assert installed(fleet) == {"till-1": "3.0.0", "till-2": "3.0.0", "till-3": "3.0.0"}


def test_the_next_revision_takes_a_pinned_device(pinned: Simulation) -> None:
    ship(pinned, manifest("3.0.0", AT_ONCE))
    assert set(installed(pinned).values()) == {"3.0.0"}
    assert told(pinned, "till-1") == ("keep", "3.0.0")


def test_retry_of_the_device_lifts_its_pin_and_brings_it_up(pinned: Simulation) -> None:
    device_verb(pinned, Verb.RETRY, "till-1")
    pinned.step(3)
    assert installed(pinned)["till-1"] == "2.0.0"
    assert told(pinned, "till-1") == ("keep", "2.0.0")


def test_a_device_that_is_away_is_sent_back_when_it_returns(fleet: Simulation) -> None:
    ship(fleet, manifest("3.0.0", AT_ONCE + "  offline: {after: 10m}\n"))
    go_online(fleet, "till-1", False)
    device_verb(fleet, Verb.ROLLBACK, "till-1")
    fleet.step(14)
    assert outcome(fleet, "till-1") == ["skipped", "OfflineDeferred"]
    go_online(fleet, "till-1")
    fleet.step(3)
    assert installed(fleet)["till-1"] == "2.0.0"


def test_a_canary_that_a_person_sent_back_is_no_evidence_and_no_retry_of_the_run_moves_it(
    fleet: Simulation,
) -> None:
    canary = "  strategy: canary\n  order: name\n  soak: 1h\n"
    ship(fleet, manifest("3.0.0", canary), steps=3)
    assert state(fleet) == ("in_progress", "Soaking")
    device_verb(fleet, Verb.ROLLBACK, "till-1")
    fleet.step(4)
    assert outcome(fleet, "till-1") == ["rolled_back", "RolledBackByUser"]
    assert installed(fleet)["till-1"] == "2.0.0"
    assert state(fleet) == ("paused", "NoEvidence")
    fleet.verb(Verb.RETRY)
    fleet.step(2)
    assert installed(fleet)["till-1"] == "2.0.0"
    fleet.verb(Verb.RESUME, accept=True)
    fleet.step(5)
    assert fleet.run().status == "completed"
    assert installed(fleet) == {"till-1": "2.0.0", "till-2": "3.0.0", "till-3": "3.0.0"}


def test_another_version_than_the_former_one_is_refused_and_the_available_one_named(
    fleet: Simulation,
) -> None:
    with pytest.raises(NotAllowed, match=r"cannot go back to 0\.9\.0; available: 1\.0\.0"):
        device_verb(fleet, Verb.ROLLBACK, "till-1", previous="0.9.0")
    device_verb(fleet, Verb.ROLLBACK, "till-1", previous="1.0.0")
    with pytest.raises(NotAllowed, match="it is pending"):
        device_verb(fleet, Verb.ROLLBACK, "till-1")


def test_a_first_install_cannot_be_sent_back(tmp_path: Path) -> None:
    fleet = Simulation(tmp_path, devices=1)
    ship(fleet, manifest("1.0.0", AT_ONCE))
    with pytest.raises(NotAllowed, match="nothing before"):
        device_verb(fleet, Verb.ROLLBACK, "till-1")


def test_a_committed_rollback_index_stands_in_the_way(fleet: Simulation) -> None:
    with fleet.store.write() as connection:
        connection.execute(update(t.device_components).values(rollback_index=3))
    with pytest.raises(NotAllowed, match="rollback index"):
        device_verb(fleet, Verb.ROLLBACK, "till-1")
    assert installed(fleet)["till-1"] == "2.0.0"


def test_a_device_that_may_not_have_the_release_is_not_forced_by_a_retry(
    fleet: Simulation,
) -> None:
    ship(fleet, manifest("4.0.0", AT_ONCE + '  requires: ">=3.0.0"\n'), steps=1)
    assert outcome(fleet, "till-1") == ["skipped", "BelowBarrier"]
    with pytest.raises(NotAllowed, match="BelowBarrier"):
        device_verb(fleet, Verb.RETRY, "till-1")


def test_a_known_bad_package_is_tried_again_only_on_that_device(fleet: Simulation) -> None:
    for name in ("till-1", "till-2"):
        fleet.devices[name].breaks = lambda version: version == "3.0.0"
    lenient = AT_ONCE + "  successThreshold: 30%\n"
    ship(fleet, manifest("3.0.0", lenient))
    fleet.devices["till-1"].breaks = lambda _version: False
    device_verb(fleet, Verb.RETRY, "till-1")
    fleet.step(3)
    assert installed(fleet) == {"till-1": "3.0.0", "till-2": "2.0.0", "till-3": "3.0.0"}


def test_a_device_of_a_final_run_is_not_tried_again_alone(fleet: Simulation) -> None:
    fleet.devices["till-1"].breaks = lambda version: version == "3.0.0"
    ship(fleet, manifest("3.0.0", AT_ONCE + "  onFailure: abort\n"))
    with pytest.raises(NotAllowed, match="retry"):
        device_verb(fleet, Verb.RETRY, "till-1")


def test_whoever_went_back_wants_what_it_came_from(fleet: Simulation) -> None:
    def desired() -> list[str]:
        with fleet.store.read() as connection:
            names = ("till-1", "till-2")
            found = [
                reading_devices.device(connection, "acme", each, seen_after=0) for each in names
            ]
        return [device["components"]["app"]["desired"] for device in found if device]

    device_verb(fleet, Verb.ROLLBACK, "till-1")
    assert desired() == ["1.0.0", "2.0.0"]
    fleet.verb(Verb.ROLLBACK)
    fleet.step(4)
    assert desired() == ["1.0.0", "1.0.0"]
