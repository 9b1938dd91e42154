"""Which devices a run takes, and which of its packages each gets; SQL and Python agree."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select, update

from tests.reconciler.simulation import RELEASE_KEY, Simulation, checksum, manifest, statement
from towline.manifests.model import Arm
from towline.reconciler import arms
from towline.reconciler.cohort import order_for
from towline.reconciler.scope import affine
from towline.reconciler.store import tables as t
from towline.schemas.statement import statement_path

AT_ONCE = "  strategy: immediate\n"
EXPERIMENT = (
    "  experiment: {arms: [{name: a, weight: %d}, {name: b, weight: %d, targetVersion: '2.0.0',"
    " package: {url: app-2.0.0.tar.gz, checksum: 'sha256:" + checksum("2.0.0") + "'}}]}\n"
)


@pytest.fixture
def fleet(tmp_path: Path) -> Simulation:
    return Simulation(tmp_path, devices=6)


def sign(fleet: Simulation, version: str, **changes: Any) -> None:
    """Put a statement beside the manifests."""
    word = replace(statement(version), **changes)
    path = statement_path(word.component, word.version, word.file_name)
    signed = {**fleet.head.statements, path: word.sign(RELEASE_KEY).to_bytes()}
    fleet.head = replace(fleet.head, statements=signed)


def targets(fleet: Simulation) -> dict[str, tuple[str | None, str | None]]:
    """Arm and checksum by device, of the newest run."""
    with fleet.store.read() as connection:
        rows = connection.execute(
            select(t.edge_devices.c.slug, t.targets.c.arm, t.targets.c.sha256)
            .join(t.edge_devices, t.edge_devices.c.seq == t.targets.c.device_seq)
            .where(t.targets.c.run_seq == fleet.run().seq)
        )
        return {row.slug: (row.arm, row.sha256) for row in rows}


def with_packages(first: str, second: str) -> str:
    """A Deployment of 1.0.0 with two packages; each argument says whom one is for."""
    one = f"{{url: app-1.0.0.tar.gz, checksum: 'sha256:{checksum('1.0.0')}'{first}}}"
    two = f"{{url: other-1.0.0.tar.gz, checksum: 'sha256:{'ab' * 32}'{second}}}"
    text = manifest("1.0.0", AT_ONCE)
    line = next(each for each in text.splitlines() if each.startswith("  package:"))
    return text.replace(line, f"  packages: [{one}, {two}]")


def test_every_device_gets_the_first_package_that_is_for_it(fleet: Simulation) -> None:
    fleet.enrol("pi-1", "pi")
    fleet.enrol("lab-1", stage="lab")
    by_type = with_packages(", deviceTypes: [pi]", ", labels: {stage: lab}")
    sign(fleet, "1.0.0", file_name="other-1.0.0.tar.gz", sha256="ab" * 32)
    fleet.commit(by_type)
    assert targets(fleet)["pi-1"] == (None, checksum("1.0.0"))
    assert targets(fleet)["lab-1"] == (None, "ab" * 32)
    assert targets(fleet)["till-1"] == (None, None)
    assert fleet.targets()["till-1"] == "NoPackageForDevice"


def test_a_statement_for_other_device_types_is_no_package(fleet: Simulation) -> None:
    fleet.enrol("pi-1", "pi")
    sign(fleet, "1.0.0", device_types=("pi",))
    fleet.commit(manifest("1.0.0", AT_ONCE), unsigned=("1.0.0",))
    assert fleet.targets()["pi-1"] == "pending"
    assert fleet.targets()["till-1"] == "NoPackageForDevice"


def test_each_missing_statement_is_named(fleet: Simulation) -> None:
    fleet.commit(with_packages(", deviceTypes: [pi]", ""), unsigned=("1.0.0",))
    assert fleet.run().reason == "WaitingForStatement"
    for name in ("app-1.0.0.tar.gz", "other-1.0.0.tar.gz"):
        assert f"releases/app/1.0.0/{name}.json is missing" in fleet.run().message


def test_arms_get_their_own_release_as_python_says(fleet: Simulation) -> None:
    sign(fleet, "2.0.0")
    fleet.commit(manifest("1.0.0", AT_ONCE + EXPERIMENT % (50, 50)))
    sides = (Arm("a", 50, "1.0.0", ()), Arm("b", 50, "2.0.0", ()))
    sums = {"a": checksum("1.0.0"), "b": checksum("2.0.0")}
    expected = {
        name: arms.arm_of("app", device.seq, sides) for name, device in fleet.devices.items()
    }
    assert {name: arm for name, (arm, _) in targets(fleet).items()} == expected
    assert all(sums[str(arm)] == sha256 for arm, sha256 in targets(fleet).values())
    assert set(expected.values()) == {"a", "b"}


def test_late_joiners_after_completion_get_the_first_arm(fleet: Simulation) -> None:
    sign(fleet, "2.0.0")
    fleet.commit(manifest("1.0.0", AT_ONCE + EXPERIMENT % (1, 99)))
    fleet.step(8)
    assert fleet.run().status == "completed"
    for n in range(4):
        fleet.enrol(f"late-{n}")
    fleet.step(8)
    late = {arm for name, (arm, _) in targets(fleet).items() if name.startswith("late")}
    assert late == {"a"}


weights = st.integers(1, 99)


@settings(max_examples=50)
@given(name=st.text(min_size=1, max_size=20), first=weights, n=st.integers(40, 400))
def test_shares_of_arms_are_near_their_weights(name: str, first: int, n: int) -> None:
    sides = (Arm("a", first, "1", ()), Arm("b", 100 - first, "2", ()))
    members = sum(arms.arm_of(name, seq, sides) == "a" for seq in range(1, n + 1))
    assert abs(members - n * first / 100) <= max(4, n * 0.05)


@settings(max_examples=50)
@given(name=st.text(min_size=1, max_size=20), before=weights, after=weights)
def test_a_changed_weight_moves_only_whom_it_must(name: str, before: int, after: int) -> None:
    def arm(seq: int, first: int) -> str:
        return arms.arm_of(name, seq, (Arm("a", first, "1", ()), Arm("b", 100 - first, "2", ())))

    moved = {(arm(seq, before), arm(seq, after)) for seq in range(1, 200)}
    assert moved <= {("a", "a"), ("b", "b"), ("a", "b") if after < before else ("b", "a")}


@settings(max_examples=40)
@given(salt=st.binary(min_size=32, max_size=32), highest=st.integers(3, 2000))
def test_sql_and_python_agree_on_a_position(salt: bytes, highest: int, shared: Simulation) -> None:
    order = order_for(salt.hex(), highest)
    with shared.store.read() as connection:
        seq = t.edge_devices.c.seq
        rows = connection.execute(select(seq, affine(order).of(seq))).all()
    assert len(rows) == 6
    assert all(order.position(seq) == position for seq, position in rows)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Simulation:
    return Simulation(tmp_path_factory.mktemp("shared"), devices=6)


@pytest.mark.parametrize("order", ["salted", "name"])
def test_a_batch_takes_the_first_devices_of_the_order(fleet: Simulation, order: str) -> None:
    for n in range(7, 13):
        fleet.enrol(f"till-{n}")
    rolling = f"  strategy: {{type: rolling, batchSize: 50%, minDevices: 2}}\n  order: {order}\n"
    fleet.commit(manifest("1.0.0", rolling))
    run = fleet.run()
    place = order_for(run.revision, 12).position
    by_order = sorted(
        fleet.devices.values(), key=lambda d: d.name if order == "name" else place(d.seq)
    )
    assert set(fleet.targets()) == {device.name for device in by_order[:6]}
    if order == "salted":
        with fleet.store.read() as connection:
            rows = connection.execute(select(t.targets.c.device_seq, t.targets.c.position))
            assert all(position == place(seq) for seq, position in rows)


def rival(version: str, more: str = "", name: str = "rival") -> str:
    """Another Deployment of the component."""
    text = manifest(version, AT_ONCE + more, name=name)
    return text.replace(f"component: {name}", "component: app").replace(f"{name}-", "app-")


ONLY_ONE = "  filters: {devices: [till-1]}\n"


def test_who_holds_a_device_keeps_it_and_the_other_says_so(fleet: Simulation) -> None:
    mine = manifest("1.0.0", AT_ONCE)
    fleet.commit(mine)
    fleet.step(6)
    fleet.commit(mine, rival("2.0.0", ONLY_ONE))
    fleet.step(6)
    assert fleet.targets("rival") == {"till-1": "OwnedByOther"}
    fleet.commit(manifest("1.1.0", AT_ONCE), rival("2.0.0", ONLY_ONE))
    fleet.step(8)
    assert fleet.devices["till-1"].installed["app"].version == "1.1.0"


def test_nobody_takes_what_neither_holds_until_the_conflict_is_over(fleet: Simulation) -> None:
    mine = manifest("1.0.0", AT_ONCE)
    fleet.commit(mine, rival("2.0.0", ONLY_ONE))
    fleet.step(8)
    assert fleet.targets()["till-1"] == "OwnedByOther"
    assert fleet.targets("rival") == {"till-1": "OwnedByOther"}
    assert "app" not in fleet.devices["till-1"].installed
    fleet.commit(mine)
    fleet.step(8)
    assert fleet.targets()["till-1"] == "completed"
    assert fleet.devices["till-1"].installed["app"].version == "1.0.0"


def test_a_replacement_takes_over_without_a_conflict(fleet: Simulation) -> None:
    mine = manifest("1.0.0", AT_ONCE)
    fleet.commit(mine)
    fleet.step(6)
    newer = rival("2.0.0", ONLY_ONE).replace("{name: rival}", "{name: rival, replaces: [app]}")
    fleet.commit(mine, newer)
    fleet.step(8)
    assert fleet.targets("rival") == {"till-1": "completed"}
    fleet.commit(manifest("3.0.0", AT_ONCE), newer)
    fleet.step(8)
    assert fleet.targets()["till-1"] == "OwnedByOther"
    assert fleet.devices["till-1"].installed["app"].version == "2.0.0"
    assert fleet.devices["till-2"].installed["app"].version == "3.0.0"


def test_what_is_taken_over_is_not_taken_again(fleet: Simulation) -> None:
    fleet.commit(manifest("1.0.0", AT_ONCE))
    fleet.step(6)
    newer = rival("2.0.0", ONLY_ONE + "  start: manual\n")
    newer = newer.replace("{name: rival}", "{name: rival, replaces: [app]}")
    fleet.commit(manifest("3.0.0", AT_ONCE), newer)
    assert fleet.targets()["till-1"] == "OwnedByOther"
    assert fleet.targets()["till-2"] == "pending"


def test_a_pin_keeps_a_device_out_of_its_revision_only(fleet: Simulation) -> None:
    fleet.commit(manifest("1.0.0", AT_ONCE))
    fleet.step(6)
    fleet.commit(manifest("2.0.0", AT_ONCE + "  start: manual\n"))
    with fleet.store.write() as connection:
        connection.execute(
            update(t.device_components).values(pin_sha256=checksum("1.0.0"), pin_revision="ab" * 32)
        )
        connection.execute(
            update(t.device_components)
            .where(t.device_components.c.device_seq == fleet.devices["till-1"].seq)
            .values(pin_revision=fleet.run().revision)
        )
    fleet.commit(manifest("2.0.0", AT_ONCE))
    assert fleet.targets()["till-1"] == "Excluded"
    assert fleet.targets()["till-2"] == "pending"


def test_a_package_is_known_bad_only_to_who_would_get_it(fleet: Simulation) -> None:
    sign(fleet, "2.0.0")
    fleet.commit(manifest("1.0.0", AT_ONCE + "  start: manual\n" + EXPERIMENT % (50, 50)))
    with fleet.store.write() as connection:
        connection.execute(
            t.device_components.insert(),
            [
                {"device_seq": each.seq, "component": "app", "known_bad": checksum("2.0.0")}
                for each in fleet.devices.values()
            ],
        )
    fleet.commit(manifest("1.0.0", AT_ONCE + EXPERIMENT % (50, 50)))
    found = {arm: fleet.targets()[name] for name, (arm, _) in targets(fleet).items()}
    assert found == {"a": "pending", "b": "KnownBad"}
