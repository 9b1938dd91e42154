"""What a device completed last, of each component: the newest, and of as new ones the later run."""

from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import insert, select

from tests.reconciler.simulation import Simulation, manifest
from towline.reconciler.store import tables as t
from towline.reconciler.verification import Completed, last_completed

pytestmark = pytest.mark.both_engines


@pytest.fixture
def fleet(tmp_path: Path) -> Simulation:
    """Each device has a target of one run."""
    fleet = Simulation(tmp_path, devices=2)
    fleet.commit(manifest("1.0.0", "  strategy: immediate\n"))
    return fleet


def complete(fleet: Simulation, device: str, runs: dict[int, tuple[str, int | None]]) -> None:
    """Runs by number: of which component its target is, and when it completed; None: it did not."""
    seq = fleet.devices[device].seq
    with fleet.store.write() as connection:
        run = connection.execute(select(t.runs).limit(1)).one()._asdict()
        known = set(connection.execute(select(t.runs.c.seq)).scalars())
        target = connection.execute(
            select(t.targets).where(t.targets.c.device_seq == seq).limit(1)
        ).one()
        for number, (component, at) in runs.items():
            if number not in known:
                own = {"seq": number, "id": uuid4(), "turn": number}
                connection.execute(insert(t.runs).values(run | own))
            status = {"status": "failed" if at is None else "completed", "completed_at": at}
            values = {"run_seq": number, "component": component, "arm": f"arm-{number}", **status}
            connection.execute(insert(t.targets).values(target._asdict() | values))


def found(fleet: Simulation) -> dict[tuple[str, str], tuple[int, str | None]]:
    """By device and component: which run, and an arm out of the same row."""
    names = {device.seq: name for name, device in fleet.devices.items()}
    with fleet.store.read() as connection:
        asked = last_completed(connection.dialect.name)
        rows = [Completed(*row) for row in connection.execute(asked, {"devices": list(names)})]
    return {(names[row.device_seq], row.component): (row.run_seq, row.arm) for row in rows}


def test_each_component_has_its_last(fleet: Simulation) -> None:
    complete(
        fleet,
        "till-1",
        {
            101: ("app", 2_000_000_000),
            102: ("app", 1_900_000_000),
            103: ("db", 1_800_000_000),
            104: ("db", None),
        },
    )
    complete(fleet, "till-2", {102: ("app", 1_700_000_000)})
    assert found(fleet) == {
        ("till-1", "app"): (101, "arm-101"),
        ("till-1", "db"): (103, "arm-103"),
        ("till-2", "app"): (102, "arm-102"),
    }


def test_of_two_at_the_same_time_it_is_the_later_runs(fleet: Simulation) -> None:
    complete(fleet, "till-1", {101: ("app", 2_000_000_000), 102: ("app", 2_000_000_000)})
    complete(fleet, "till-2", {102: ("app", 2_000_000_001), 101: ("app", 2_000_000_001)})
    last = (102, "arm-102")
    assert found(fleet) == {("till-1", "app"): last, ("till-2", "app"): last}


def test_who_completed_nothing_has_none(fleet: Simulation) -> None:
    assert found(fleet) == {}
