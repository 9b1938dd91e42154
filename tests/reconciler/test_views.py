"""The contract's two tables, as whoever asks the store by SQL finds them: on both engines alike."""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from tests.reconciler.simulation import ORGANIZATION, Simulation, manifest
from tests.stores import place_of
from towline.reconciler.store.engine import Store, open_store
from towline.schemas import times
from towline.schemas.identifiers import device_uuid, organization_uuid

both_engines = pytest.mark.both_engines

DEPLOYMENT = text("SELECT * FROM ota_deployments WHERE id = :id")
DEVICES = text(
    "SELECT * FROM ota_deployment_devices WHERE deployment_id = :id ORDER BY created_at, id"
)
FORMER = (
    "DROP VIEW ota_deployments",
    "DROP VIEW ota_deployment_devices",
    "CREATE VIEW ota_deployments AS SELECT * FROM runs",
    "CREATE VIEW ota_deployment_devices AS SELECT id AS deployment_id FROM runs",
    "UPDATE alembic_version SET version_num = '0023'",
)
"""Makes a store of one that knows ids as SQLite keeps them."""


@pytest.fixture
def fleet(tmp_path: Path) -> Simulation:
    """One device of two is done."""
    fleet = Simulation(tmp_path, devices=2)
    fleet.devices["till-2"].is_online = False
    fleet.commit(manifest("1.0.0"))
    fleet.step(3)
    return fleet


def asked(store: Store, statement: Any, **values: object) -> list[Mapping[str, Any]]:
    with store.read() as connection:
        return [dict(row) for row in connection.execute(statement, values).mappings()]


def told(at: datetime | str) -> str:
    """A time as the API says it."""
    return at if isinstance(at, str) else times.to_rfc3339(at.timestamp())


@both_engines
def test_a_deployment_is_found_by_the_id_that_the_api_says(fleet: Simulation) -> None:
    run = fleet.run()
    (row,) = asked(fleet.store, DEPLOYMENT, id=str(run.id))
    ids = {name: str(row[name]) for name in ("id", "organization_id", "created_by")}
    assert ids == {
        "id": str(run.id),
        "organization_id": str(organization_uuid(ORGANIZATION)),
        "created_by": str(run.created_by),
    }
    for name in ("created_at", "started_at", "updated_at"):
        assert told(row[name]) == times.to_rfc3339(getattr(run, name))
    assert row["completed_at"] is None


@both_engines
def test_its_devices_are_found_by_it_and_by_their_own_ids(fleet: Simulation) -> None:
    run = fleet.run()
    rows = {str(row["device_id"]): row for row in asked(fleet.store, DEVICES, id=str(run.id))}
    done, waits = (rows[str(device_uuid(ORGANIZATION, name))] for name in ("till-1", "till-2"))
    assert {str(done["deployment_id"]), str(waits["deployment_id"])} == {str(run.id)}
    assert (done["status"], waits["status"]) == ("completed", "pending")
    assert told(done["created_at"]) <= told(done["started_at"]) <= told(done["completed_at"])
    assert waits["completed_at"] is None
    by_device = text("SELECT id FROM ota_deployment_devices WHERE device_id = :id")
    assert asked(fleet.store, by_device, id=str(done["device_id"])) == [{"id": done["id"]}]


@both_engines
def test_times_are_compared_with_a_time_as_the_api_says_it(fleet: Simulation) -> None:
    begun = fleet.run().created_at
    since = text("SELECT count(*) AS n FROM ota_deployments WHERE created_at >= :at")
    for at, n in ((begun, 1), (begun + 1, 0)):
        assert asked(fleet.store, since, at=times.to_rfc3339(at)) == [{"n": n}]


def test_the_views_of_an_earlier_store_are_made_anew(fleet: Simulation, tmp_path: Path) -> None:
    run = str(fleet.run().id)
    with fleet.store.write() as connection:
        for statement in FORMER:
            connection.execute(text(statement))
    fleet.store.close()
    store = open_store(place_of(tmp_path / "towline.db"))
    assert len(asked(store, DEPLOYMENT, id=run)) == 1
    assert len(asked(store, DEVICES, id=run)) == 2


def test_on_sqlite_no_target_of_another_deployment_is_looked_at(fleet: Simulation) -> None:
    plan = asked(fleet.store, text(f"EXPLAIN QUERY PLAN {DEVICES.text}"), id=str(fleet.run().id))
    steps = [each["detail"] for each in plan]
    assert [each for each in steps if " t " in each and "run_seq=?" in each], steps
