"""Experiments: two arms at once, each with its gate; late joiners get the first."""

from pathlib import Path

import pytest
from sqlalchemy import select

from tests.reconciler.looking import AT_ONCE, installed, ship, state, target, twin
from tests.reconciler.simulation import ORGANIZATION, POLL_S, Simulation, checksum, manifest
from towline.reconciler.explain_device import explain_device
from towline.reconciler.showing import Sight
from towline.reconciler.store import tables as t
from towline.reconciler.store.device_lists import FleetFilter
from towline.reconciler.store.device_parts import devices_part

ARMS = (
    "  experiment: {arms: [{name: a, weight: 50}, {name: b, weight: 50, targetVersion: '2.5.0',"
    f" package: {{url: app-2.5.0.tar.gz, checksum: 'sha256:{checksum('2.5.0')}'}}}}]}}\n"
)
SPLIT = AT_ONCE + ARMS


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Simulation:
    """Eight devices that completed 1.0.0; the second arm's package is signed, too."""
    fleet = Simulation(tmp_path_factory.mktemp("base"), devices=8)
    fleet.commit(manifest("2.5.0", AT_ONCE + "  start: manual\n"))
    ship(fleet, manifest("1.0.0", AT_ONCE))
    return fleet


@pytest.fixture
def fleet(base: Simulation, tmp_path: Path) -> Simulation:
    return twin(base, tmp_path)


def arms(fleet: Simulation) -> dict[str, set[str]]:
    """The devices of each arm."""
    with fleet.store.read() as connection:
        rows = connection.execute(
            select(t.targets.c.arm, t.edge_devices.c.slug)
            .join(t.edge_devices, t.edge_devices.c.seq == t.targets.c.device_seq)
            .where(t.targets.c.run_seq == fleet.run().seq)
        )
        found: dict[str, set[str]] = {}
        for arm, slug in rows:
            found.setdefault(arm, set()).add(slug)
        return found


def test_each_arm_gets_its_own_release(fleet: Simulation) -> None:
    ship(fleet, manifest("2.0.0", SPLIT))
    found = arms(fleet)
    assert sorted(found) == ["a", "b"]
    wanted = dict.fromkeys(found["a"], "2.0.0") | dict.fromkeys(found["b"], "2.5.0")
    assert (installed(fleet), fleet.run().status) == (wanted, "completed")


def test_each_device_is_told_the_version_of_its_own_arm(fleet: Simulation) -> None:
    ship(fleet, manifest("2.0.0", SPLIT))
    with fleet.store.read() as connection:
        page, *_ = devices_part(connection, ORGANIZATION, FleetFilter(), 100, 0)
        told = {each["id"]: each["components"]["app"]["desired"] for each in page}
        device = min(arms(fleet)["b"])
        explained = explain_device(
            connection, ORGANIZATION, device, Sight(fleet.now, fleet.head, POLL_S)
        )
    assert {name for name, version in told.items() if version == "2.5.0"} == arms(fleet)["b"]
    assert explained is not None
    assert "Deployment app wants 2.5.0" in explained["text"]


def test_arms_are_stable_over_revisions(fleet: Simulation) -> None:
    ship(fleet, manifest("2.0.0", SPLIT))
    before = arms(fleet)
    ship(fleet, manifest("2.1.0", SPLIT + "  allowDowngrade: true\n"), steps=1)
    assert arms(fleet)["a"] == before["a"]


def test_one_bad_arm_fails_the_batch_though_the_whole_would_pass(fleet: Simulation) -> None:
    for device in fleet.devices.values():
        device.breaks = lambda version: version == "2.5.0"
    ship(fleet, manifest("2.0.0", SPLIT + "  successThreshold: 20%\n"))
    assert state(fleet) == ("failed", "ThresholdNotMet")


def test_who_joins_after_completion_gets_the_first_arm(fleet: Simulation) -> None:
    ship(fleet, manifest("2.0.0", SPLIT))
    late = [f"late-{n}" for n in range(5)]
    for name in late:
        fleet.enrol(name)
    fleet.settle()
    fleet.step(2)
    assert {target(fleet, name).arm for name in late} == {"a"}
    assert {installed(fleet)[name] for name in late} == {"2.0.0"}
