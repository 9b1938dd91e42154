"""A large batch is filled in parts, and has the members that it would have at once."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select, text

from tests.reconciler.looking import device_verb, ship
from tests.reconciler.simulation import ORGANIZATION, POLL_S, Simulation, checksum, manifest
from towline.reconciler import apply, filling, observe, selection, walk
from towline.reconciler.observe import OFFLINE_AFTER_DEFAULT_S
from towline.reconciler.passing import pass_over
from towline.reconciler.store import dirt
from towline.reconciler.store import tables as t
from towline.reconciler.store.inventory import intern_version
from towline.schemas.states import Verb

PART = 3
DEVICES = 11
AT_ONCE = "  strategy: immediate\n"
CANARY = (
    "  strategy: {type: batches, batches: [{name: first, size: 60%}, {name: rest, size: 100%}]}\n"
)

pytestmark = pytest.mark.both_engines


def in_parts(monkeypatch: pytest.MonkeyPatch, part: int = PART) -> None:
    for module in (apply, filling, observe, selection):
        monkeypatch.setattr(module, "PART", part)
    monkeypatch.setattr(walk, "_CHEAPER", 0)


def a_fleet(folder: Path) -> Simulation:
    """One runs something newer, one the release; one is silent and one of another site."""
    fleet = Simulation(folder, devices=0)
    fleet.stages_at_once = False
    for n in range(1, DEVICES + 1):
        fleet.enrol(f"till-{n}", site="there" if n == 5 else "here")
    with fleet.store.write() as connection:
        for name, version in (("till-2", "9.0.0"), ("till-7", "1.0.0")):
            row = {
                "device_seq": fleet.devices[name].seq,
                "component": "app",
                "version_id": intern_version(connection, "app", version),
                "sha256": checksum(version),
                "rollback_index": 0,
            }
            connection.execute(insert(t.device_components), row)
    return fleet


def members(fleet: Simulation) -> Sequence[Any]:
    columns = [
        t.targets.c[name] for name in ("device_seq", "batch", "status", "reason", "position")
    ]
    with fleet.store.read() as connection:
        mine = t.targets.c.run_seq == fleet.run().seq
        return connection.execute(select(*columns).where(mine).order_by(columns[0])).all()


def batches(fleet: Simulation) -> Sequence[Any]:
    with fleet.store.read() as connection:
        mine = t.batches.c.run_seq == fleet.run().seq
        return connection.execute(
            select(t.batches.c.size, t.batches.c.state, t.batches.c.filled_to).where(mine)
        ).all()


def one_pass(fleet: Simulation) -> bool:
    return pass_over(fleet.store, fleet.head, "app", fleet.now, POLL_S)


def commit_only(fleet: Simulation, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """The commit is in force, and no pass was made yet."""
    with monkeypatch.context() as patch:
        patch.setattr(fleet, "settle", lambda: None)
        fleet.commit(text)


@pytest.fixture
def filling_fleet(engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Simulation:
    """Its only batch has its first part."""
    in_parts(monkeypatch)
    fleet = a_fleet(tmp_path)
    commit_only(fleet, monkeypatch, manifest("1.0.0", AT_ONCE))
    one_pass(fleet)
    one_pass(fleet)
    assert batches(fleet)[0].filled_to is not None
    return fleet


@pytest.mark.parametrize("strategy", [AT_ONCE, CANARY])
def test_parts_are_as_one(
    engine: str, strategy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = manifest("1.0.0", strategy + "  filters: {labels: {site: here}}\n")
    whole = a_fleet(tmp_path / "whole")
    whole.commit(text)
    in_parts(monkeypatch)
    parted = a_fleet(tmp_path / "parted")
    commit_only(parted, monkeypatch, text)
    sizes, goes_on = [0], True
    while goes_on:
        goes_on = one_pass(parted)
        sizes.append(len(members(parted)))
        with parted.store.write() as connection:
            assert dirt.take(connection, ORGANIZATION) == (["app"] if goes_on else [])
    grown = [after - before for before, after in pairwise(sizes)]
    assert max(grown) <= PART + 1, "a part, and who is skipped"
    assert sum(map(bool, grown)) > 1
    assert members(parted) == members(whole)
    assert batches(parted) == batches(whole)


def test_nobody_is_granted_and_nobody_added_while_a_person_holds_it(
    filling_fleet: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = filling_fleet
    begun = members(fleet)
    assert 0 < len(begun) <= PART
    with monkeypatch.context() as patch:
        patch.delattr(observe, "fleet_seen")  # nor is anybody looked at, of whom there are many
        fleet.verb(Verb.PAUSE)
    assert members(fleet) == begun
    fleet.enrol("till-99")
    fleet.verb(Verb.RESUME)
    assert len(members(fleet)) == DEVICES, "all but the one that runs it, and the new one"
    assert batches(fleet)[0].filled_to is None


def test_whoever_comes_to_fit_behind_the_part_is_taken_in_the_end(
    engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_parts(monkeypatch, part=2)
    fleet = a_fleet(tmp_path)
    commit_only(
        fleet, monkeypatch, manifest("1.0.0", AT_ONCE + "  filters: {labels: {site: here}}\n")
    )
    assert one_pass(fleet)
    while batches(fleet)[0].filled_to < 6:
        assert one_pass(fleet)
    late = fleet.devices["till-5"].seq
    assert late not in {row.device_seq for row in members(fleet)}
    relabel(fleet, late)
    fleet.settle()
    assert late in {row.device_seq for row in members(fleet)}


def relabel(fleet: Simulation, seq: int) -> None:
    with fleet.store.write() as connection:
        here = select(t.edge_devices.c.label_set_id).where(t.edge_devices.c.slug == "till-1")
        connection.execute(
            t.edge_devices.update()
            .where(t.edge_devices.c.seq == seq)
            .values(label_set_id=here.scalar_subquery())
        )


CANARY_FIRST = (
    "  strategy: {type: batches, batches: [{name: first, size: 20%}, {name: rest, size: 100%}]}\n"
)


def test_a_commit_that_asks_for_another_order_does_not_stop_it(filling_fleet: Simulation) -> None:
    fleet = filling_fleet
    fleet.commit(manifest("1.0.0", AT_ONCE + "  order: name\n"))
    assert (len(members(fleet)), batches(fleet)[0].filled_to) == (DEVICES - 1, None)


def test_the_few_that_are_in_it_give_no_verdict(filling_fleet: Simulation) -> None:
    fleet = filling_fleet
    fleet.verb(Verb.PAUSE)
    fleet.now += 2 * OFFLINE_AFTER_DEFAULT_S
    fleet.settle()
    assert {row.reason for row in members(fleet)} == {"OfflineDeferred", "NewerInstalled"}
    with fleet.store.read() as connection:
        assert connection.execute(select(t.holds.c.reason)).scalars().all() == ["PausedByUser"]


@pytest.mark.parametrize("verb", [Verb.ROLLBACK, Verb.CANCEL])
def test_whoever_has_the_release_goes_back_though_the_rest_was_not_selected_yet(
    engine: str, verb: Verb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = Simulation(tmp_path, devices=6)
    ship(fleet, manifest("0.9.0", AT_ONCE))
    in_parts(monkeypatch)
    fleet.commit(manifest("1.0.0", CANARY_FIRST))
    with monkeypatch.context() as patch:
        patch.setattr(fleet, "settle", lambda: one_pass(fleet) or fleet.stage())
        while len(batches(fleet)) < 2:
            fleet.step()
    assert batches(fleet)[1].filled_to is not None
    done = [name for name, status in fleet.targets().items() if status == "completed"]
    assert done
    fleet.verb(verb)
    assert (fleet.run().status == "in_progress") is (verb is Verb.ROLLBACK), "until they are back"
    if verb is Verb.CANCEL:
        for name in done:
            device_verb(fleet, Verb.ROLLBACK, name)
    fleet.step(2)
    assert {fleet.targets()[name] for name in done} == {"rolled_back"}


@pytest.mark.parametrize("strategy", [AT_ONCE, CANARY])
def test_postgres_counts_its_rows_at_once(
    engine: str, strategy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it looks through all that wait for what an index would find."""
    in_parts(monkeypatch)
    fleet = a_fleet(tmp_path)
    commit_only(fleet, monkeypatch, manifest("1.0.0", strategy))
    while one_pass(fleet):
        pass
    if engine == "postgres":
        with fleet.store.read() as connection:
            counted = text("SELECT reltuples FROM pg_class WHERE relname = 'targets'")
            assert connection.execute(counted).scalar_one() >= PART
