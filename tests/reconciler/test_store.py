"""The store: migrations without drift, views with the contract's columns, counters that hold."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, inspect, select, text
from sqlalchemy.exc import IntegrityError

from tests.reconciler.simulation import Simulation, manifest
from tests.stores import open_quickly
from towline.reconciler.acts import NotAllowed
from towline.reconciler.store import tables as t
from towline.reconciler.store.counters import standing_of
from towline.schemas.states import Verb

pytestmark = pytest.mark.both_engines


def test_the_migrations_make_exactly_the_metadata(tmp_path: Path) -> None:
    store = open_quickly(tmp_path / "towline.db")
    with store.read() as connection:
        # One index is made where the server can, and the metadata need not know it.
        opts = {"include_name": lambda name, *_: name != "ix_edge_devices_slug_parts"}
        context = MigrationContext.configure(connection, opts=opts)
        assert compare_metadata(context, t.metadata) == []


def test_the_contracts_tables_are_views_with_its_columns(tmp_path: Path) -> None:
    inspector = inspect(open_quickly(tmp_path / "towline.db").engine)
    deployments = {column["name"] for column in inspector.get_columns("ota_deployments")}
    devices = {column["name"] for column in inspector.get_columns("ota_deployment_devices")}
    assert deployments == {
        "id",
        "deployment_name",
        "organization_id",
        "target_version",
        "rollout_strategy",
        "rollout_percentage",
        "status",
        "started_at",
        "completed_at",
        "created_by",
        "metadata",
        "created_at",
        "updated_at",
    }
    assert devices == {
        "id",
        "deployment_id",
        "device_id",
        "status",
        "started_at",
        "completed_at",
        "error_message",
        "created_at",
    }


def test_a_device_row_of_the_view_is_named_by_run_and_number(tmp_path: Path) -> None:
    fleet = Simulation(tmp_path, devices=1)
    fleet.commit(manifest("1.0.0"))
    with fleet.store.read() as connection:
        row_id = connection.execute(text("SELECT id FROM ota_deployment_devices")).scalar_one()
    assert str(row_id) == f"{str(fleet.run().id)[:24]}{fleet.devices['till-1'].seq:012x}"


def test_no_device_has_two_active_targets_of_one_component(tmp_path: Path) -> None:
    fleet = Simulation(tmp_path, devices=1)
    fleet.commit(manifest("1.0.0"))
    with fleet.store.read() as connection:
        run = dict(connection.execute(select(t.runs)).mappings().one())
        target = dict(connection.execute(select(t.targets)).mappings().one())
    run |= {"seq": 99, "id": fleet.run().id.__class__(int=7), "turn": 9}
    with pytest.raises(IntegrityError), fleet.store.write() as connection:
        connection.execute(t.runs.insert().values(**run))
        connection.execute(t.targets.insert().values(**target | {"run_seq": 99}))


deeds = st.lists(
    st.sampled_from(["step", "step", "step", "pause", "resume", "retry", "bad", "good", "absent"]),
    max_size=14,
)


@settings(
    max_examples=6,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(deeds=deeds)
def test_counters_equal_a_group_by_after_any_history(
    deeds: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    fleet = Simulation(tmp_path_factory.mktemp("history"), devices=4)
    fleet.devices["till-2"].breaks = lambda version: version == "2.0.0"
    fleet.commit(manifest("1.0.0"))
    for deed in deeds:
        do(fleet, deed)
        with fleet.store.read() as connection:
            assert stored_counts(connection) == true_counts(connection)


def do(fleet: Simulation, deed: str) -> None:
    match deed:
        case "step":
            fleet.step()
        case "bad":
            fleet.commit(manifest("2.0.0"))
        case "good":
            fleet.commit(manifest("1.0.0"))
        case "absent":
            device = fleet.devices["till-3"]
            device.is_online = not device.is_online
        case verb:
            try:
                fleet.verb(Verb(verb))
            except NotAllowed:
                return


def stored_counts(connection: Connection) -> set[tuple[Any, ...]]:
    return {tuple(row) for row in connection.execute(select(t.deployment_counts))}


def true_counts(connection: Connection) -> set[tuple[Any, ...]]:
    rows = connection.execute(select(t.targets)).all()
    counted = Counter((row.run_seq, *standing_of(row)) for row in rows)
    return {(*key, n) for key, n in counted.items()}
