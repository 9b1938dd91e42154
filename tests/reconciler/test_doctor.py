"""The doctor finds what is not sound in a store, on both engines, and nothing in a sound one."""

from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Connection, delete, text, update

from tests.reconciler.simulation import Simulation, manifest
from towline.reconciler import doctor
from towline.reconciler.doctor import Finding, examine
from towline.reconciler.store import tables as t
from towline.reconciler.store.engine import Store, is_postgres

pytestmark = pytest.mark.both_engines


@pytest.fixture
def fleet(engine: str, tmp_path: Path) -> Simulation:
    fleet = Simulation(tmp_path, devices=2)
    fleet.commit(manifest("1.0.0"))
    fleet.step(2)
    return fleet


def ill(fleet: Simulation, folder: Path, now: float | None = None) -> list[Finding]:
    found = examine(fleet.store, folder, fleet.now if now is None else now)
    assert {"store", "counters", "references", "size", "disk"} <= {each.name for each in found}
    return [each for each in found if not each.is_well]


def forget_references(connection: Connection) -> None:
    """As after a crash of the disk: neither engine lets it happen else."""
    if is_postgres(connection):
        connection.execute(text("SET session_replication_role = replica"))
    else:
        connection.rollback()
        connection.exec_driver_sql("PRAGMA foreign_keys=OFF")


def lose_a_device(store: Store, device: int) -> None:
    with store.engine.connect() as connection:
        forget_references(connection)
        connection.execute(delete(t.edge_devices).where(t.edge_devices.c.seq == device))
        connection.commit()
        connection.invalidate()


def miscount(store: Store) -> None:
    with store.write() as connection:
        connection.execute(update(t.deployment_counts).values(n=t.deployment_counts.c.n + 1))


def lose_counters(store: Store) -> None:
    with store.write() as connection:
        connection.execute(delete(t.deployment_counts))


def test_in_a_sound_store_everything_is_well(
    fleet: Simulation, tmp_path: Path, engine: str
) -> None:
    # A played fleet lives at another time than the database.
    apart = {"the database's clock differs by"} if engine == "postgres" else set()
    assert {each.message[:31] for each in ill(fleet, tmp_path)} == apart


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        pytest.param(miscount, "app (run 1: 4 counted, 2 there)", id="wrong"),
        pytest.param(lose_counters, "app (run 1: 0 counted, 2 there)", id="none"),
    ],
)
def test_counters_that_differ_from_the_rows_are_told(
    fleet: Simulation, tmp_path: Path, harm: Callable[[Store], None], words: str
) -> None:
    harm(fleet.store)
    assert words in ill(fleet, tmp_path)[0].message


def test_rows_without_what_they_refer_to_are_told(fleet: Simulation, tmp_path: Path) -> None:
    lose_a_device(fleet.store, fleet.devices["till-1"].seq)
    told = [each.message for each in ill(fleet, tmp_path) if each.name == "references"]
    assert "1 row of targets without the device_seq of edge_devices that they name" in told
    assert len(told) >= 3


def test_a_clock_that_went_back_is_told(fleet: Simulation, tmp_path: Path) -> None:
    (found,) = [each for each in ill(fleet, tmp_path, fleet.now - 3600) if each.name == "clock"]
    assert "went back" in found.message and "1 h" in found.message


def test_a_disk_that_is_nearly_full_is_told(
    fleet: Simulation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "FREE_BYTES", 2**60)
    (found,) = [each for each in ill(fleet, tmp_path) if each.name == "disk"]
    assert found.remedy.startswith("make room")
