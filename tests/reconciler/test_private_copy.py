"""A copy of a database holds its rows as they are, whatever schema of ours the database has."""

import threading
from pathlib import Path

import pytest
from sqlalchemy import select

from tests import stores
from tests.postgres import Databases
from tests.reconciler.simulation import Simulation, manifest
from tests.stores import place_of
from towline.reconciler.store import migrate, postgres
from towline.reconciler.store import tables as t
from towline.reconciler.store.database_copy import LEFT_OUT
from towline.reconciler.store.engine import Store, open_existing
from towline.reconciler.store.private_copy import copy_of, copy_of_store
from towline.schemas.problems import Problem

BUDGET = "  disruptionBudget: {maxUnavailable: 1, groupBy: site}\n"
CANARY = "  strategy: {type: canary, percentage: 50}\n" + BUDGET


def rows_of(store: Store) -> dict[str, list[tuple[object, ...]]]:
    with store.read() as connection:
        return {
            table.name: sorted(map(tuple, connection.execute(select(table))), key=repr)
            for table in t.metadata.tables.values()
            if table.name not in LEFT_OUT
        }


def test_a_copy_of_a_database_has_all_its_rows(databases: Databases, tmp_path: Path) -> None:
    with stores.on(databases):
        fleet = Simulation(tmp_path, devices=2)
        fleet.enrol("till-é", "generic", site="Åre", quote='it\'s \\ "so"')
        fleet.commit(manifest("1.0.0", CANARY))
        fleet.step(2)
        known = rows_of(fleet.store)
        assert len([name for name, rows in known.items() if rows]) > 12
        assert rows_of(copy_of_store(fleet.store)) == known
        assert rows_of(copy_of(str(place_of(tmp_path / "towline.db")))) == known


def test_a_copy_shows_one_moment(databases: Databases, tmp_path: Path) -> None:
    with stores.on(databases):
        fleet = Simulation(tmp_path, devices=0)
        is_over = threading.Event()

        def enrol() -> None:
            for n in range(40):
                fleet.enrol(f"till-{n}")
            is_over.set()

        thread = threading.Thread(target=enrol)
        thread.start()
        while not is_over.is_set():
            copied = rows_of(copy_of_store(fleet.store))
            # A device and its state come in one transaction.
            assert len(copied["edge_devices"]) == len(copied["device_state"])
        thread.join()


def test_a_database_of_an_older_schema_is_copied_and_the_copy_is_migrated(
    databases: Databases,
) -> None:
    url = databases.empty()
    engine = postgres.open_engine(url)
    with engine.connect() as connection:
        postgres.begin_writing(connection)
        migrate.apply(connection, "0003")
        connection.commit()
    with copy_of(url).read() as connection:
        assert connection.execute(select(t.device_tokens)).all() == []
    with engine.connect() as connection:
        assert migrate.revision_of(connection) == "0003"
    engine.dispose()
    with pytest.raises(Problem, match="has schema 0003"):
        open_existing(url)


def test_a_database_without_a_store_is_a_problem(databases: Databases) -> None:
    with pytest.raises(Problem, match="holds no store"):
        copy_of(databases.empty())
