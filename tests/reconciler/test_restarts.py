"""A reconciler that dies at every transaction ends where one that never dies ends."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, select

from tests.reconciler.simulation import Simulation, manifest
from tests.stores import open_quickly
from towline.reconciler import passing
from towline.reconciler.store import tables as t
from towline.reconciler.store.engine import Store

SPEC = (
    "  strategy: {type: rolling, batchSize: 50%, minDevices: 1}\n  soak: 2m\n  maxConcurrent: 1\n"
)


class Died(Exception):
    """The process is gone."""


class MortalStore(Store):
    """Dies in every transaction, at its end and before the commit, or just after it."""

    dies = ""
    """"before" or "after"; empty while something else than the reconciler writes."""
    deaths = 0
    is_second_try = False

    @contextmanager
    def write(self) -> Iterator[Connection]:
        with super().write() as connection:
            before = _changes(connection)
            yield connection
            is_changed = _changes(connection) != before
            if self.dies == "before" and not self.is_second_try:
                self.is_second_try = True
                self.deaths += 1
                raise Died
        self.is_second_try = False
        # One that changed nothing would be the same again after each restart.
        if self.dies == "after" and is_changed:
            self.deaths += 1
            raise Died


def _changes(connection: Connection) -> int:
    """Rows that the connection has changed so far."""
    driver = connection.connection.driver_connection
    assert driver is not None
    return int(driver.total_changes)


class MortalSimulation(Simulation):
    """A control plane that is started again after each death, with nothing but its store."""

    def __init__(self, folder: Path, dies: str) -> None:
        super().__init__(folder, devices=4)
        self.path = folder / "towline.db"
        self.deaths = 0
        self.mode = dies
        self.restart()

    def restart(self, is_second_try: bool = False) -> None:
        self.store.close()
        mortal = MortalStore(open_quickly(self.path).engine)
        mortal.is_second_try = is_second_try
        self.store = mortal

    def pass_over_all(self) -> None:
        while True:
            store = self.store
            assert isinstance(store, MortalStore)
            store.dies = self.mode
            try:
                super().pass_over_all()
            except Died:
                self.deaths += 1
                self.restart(store.is_second_try)
                continue
            store.dies = ""
            return


def live(fleet: Simulation) -> dict[str, Any]:
    """A good release, a bad one, its revert, a Deployment that goes; then everything but times."""
    fleet.commit(manifest("1.0.0", SPEC))
    fleet.step(14)
    for device in fleet.devices.values():
        device.breaks = lambda version: version == "2.0.0"
    fleet.commit(manifest("2.0.0", SPEC))
    fleet.step(3)
    fleet.commit(manifest("1.0.0", SPEC))
    fleet.step(8)
    fleet.commit()
    with fleet.store.read() as connection:
        return {
            "runs": _rows(connection, t.runs, "seq", "id", "status", "reason", "revision"),
            "batches": _rows(connection, t.batches, "run_seq", "number", "state", "size"),
            "holds": _rows(connection, t.holds, "run_seq", "reason"),
            "targets": _rows(
                connection, t.targets, "run_seq", "device_seq", "status", "reason", "attempt"
            ),
            "installed": {name: d.installed["app"] for name, d in fleet.devices.items()},
        }


def _rows(connection: Connection, table: Any, *names: str) -> list[tuple[Any, ...]]:
    columns = [table.c[name] for name in names]
    return [tuple(row) for row in connection.execute(select(*columns).order_by(*columns))]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return live(Simulation(tmp_path_factory.mktemp("calm"), devices=4))


@pytest.mark.parametrize("dies", ["before", "after"])
@pytest.mark.parametrize(("turn_s", "deaths"), [(0, 30), (60, 15)], ids=["by step", "by pass"])
def test_a_reconciler_that_dies_at_every_transaction_ends_where_one_that_never_dies_does(
    tmp_path: Path,
    undisturbed: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    dies: str,
    turn_s: float,
    deaths: int,
) -> None:
    monkeypatch.setattr(passing, "TURN_S", turn_s)
    fleet = MortalSimulation(tmp_path, dies)
    assert live(fleet) == undisturbed
    assert fleet.deaths > deaths, "each transaction died once"
