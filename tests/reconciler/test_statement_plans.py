"""What a device does and what a pass does after it reads no large table from end to end.

Every statement that they carry out is explained by the engine, over a fleet that is large enough
for its planner to have a choice.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Select, event, insert, select, text, update
from sqlalchemy.dialects.postgresql import asyncpg

from tests.reconciler.simulation import ORGANIZATION, POLL_S, PlayedDevice, Simulation, manifest
from towline.reconciler.documents import components_of
from towline.reconciler.known_before import asked_together
from towline.reconciler.scope import choice_of
from towline.reconciler.store import grants
from towline.reconciler.store import tables as t
from towline.reconciler.store.causes import because
from towline.reconciler.store.choice import is_new
from towline.reconciler.store.engine import Store, is_postgres
from towline.reconciler.store.inventory import intern_version
from towline.reconciler.store.labels import intern_labels
from towline.schemas.identifiers import device_uuid

pytestmark = pytest.mark.both_engines

DEVICES = 8_000
SETS = 200
LARGE = ("targets", "edge_devices", "device_state", "device_components", "dirty_devices")
STATE_BY_PARAMETER = re.compile(
    r"\b(?!(?:runs|batches|deployment_counts)\.)\w+\.(?:status|state)"
    r" (?:=|!=|IN|NOT IN) \(*(?:\?|%\()"
)
"""Neither engine sees by a parameter that an index over some states has what is asked for; SQLite
would plan the statement anew at each execution."""
COUNT_OF_DEVICES = re.compile(r"SELECT count\(\*\) AS \w+\s+FROM edge_devices\s+WHERE \S+ = \S+$")
"""A pass asks once how many devices the organization has; SQLite finds it in an index alone."""


@pytest.fixture
def fleet(engine: str, tmp_path: Path) -> Simulation:
    """A large fleet in the middle of a run over all of it."""
    fleet = Simulation(tmp_path, devices=0)
    with fleet.store.write() as connection:
        add_devices(connection, fleet.now)
    fleet.devices = {f"till-{n}": PlayedDevice(n, f"till-{n}") for n in range(1, 4)}
    fleet.commit(
        manifest(
            "0.9.0",
            "  strategy: immediate\n  maxConcurrent: 3\n  order: name\n"
            "  disruptionBudget: {groupBy: store, maxUnavailable: 1}\n",
        ),
        manifest(
            "1.0.0", "  strategy: {type: batches, batches: [{name: few, size: 5%}]}\n", "early"
        ),
    )
    with fleet.store.engine.connect() as connection:
        connection.execute(text("ANALYZE"))
        connection.commit()
    return fleet


def add_devices(connection: Connection, now: int, number: int = DEVICES) -> None:
    sets = [intern_labels(connection, {"store": f"s{n}"}) for n in range(SETS)]
    names = [f"till-{n}" for n in range(1, number + 1)]
    connection.execute(
        insert(t.edge_devices),
        [
            {
                "seq": seq,
                "id": device_uuid(ORGANIZATION, name),
                "slug": name,
                "organization": ORGANIZATION,
                "device_type": "generic",
                "label_set_id": sets[seq % SETS],
                "labels_git": {},
                "labels_people": {},
                "labels_join": {},
                "state": "active",
                "created_at": now,
            }
            for seq, name in enumerate(names, 1)
        ],
    )
    states = ({"device_seq": seq, "last_seen": now, "facts": {}} for seq in range(1, number + 1))
    connection.execute(insert(t.device_state), list(states))
    version = intern_version(connection, "app", "0.1.0")
    parts = {"component": "app", "version_id": version, "sha256": "ee" * 32, "reported_at": now}
    connection.execute(
        insert(t.device_components),
        [{"device_seq": seq, **parts} for seq in range(1, number + 1)],
    )


def fall_silent(fleet: Simulation, name: str, number: int) -> None:
    """So many who wait in the run's batch make room for others."""
    run_seq = fleet.run(name).seq
    with fleet.store.write() as connection:
        because(connection, "test", fleet.now)
        waiting = sorted(grants.waiting_in(connection, run_seq, 0))[:number]
        state = update(t.device_state).where(t.device_state.c.device_seq.in_(waiting))
        connection.execute(state.values(last_seen=fleet.now - 10 * POLL_S))
        assert grants.defer(connection, run_seq, waiting) == set(waiting)


@contextmanager
def carried_out(store: Store) -> Iterator[dict[str, Any]]:
    """The statements that are carried out in the block, each with its first parameters."""
    seen: dict[str, Any] = {}

    def note(_: Any, __: Any, statement: str, parameters: Any, ___: Any, is_many: bool) -> None:
        seen.setdefault(statement, parameters[0] if is_many else parameters)

    event.listen(store.engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(store.engine, "before_cursor_execute", note)


def plan(store: Store, statement: str, parameters: Any) -> str:
    """How the engine would carry it out."""
    with store.engine.connect() as connection:
        word = "EXPLAIN" if is_postgres(connection) else "EXPLAIN QUERY PLAN"
        rows = connection.exec_driver_sql(f"{word} {statement}", parameters).all()
    return "\n".join(str(value) for row in rows for value in row)


def scans(store: Store, statement: str, parameters: Any) -> list[str]:
    """The large tables that the engine would read from end to end."""
    is_explained = re.match(r"(SELECT|INSERT|UPDATE|DELETE|WITH)\b", statement)
    if not is_explained or COUNT_OF_DEVICES.match(statement):
        return []
    # By a partial index SQLite scans only what the index is of.
    found = re.findall(
        r"(?:Seq Scan on|SCAN) (\w+)(?! USING (?:COVERING )?INDEX ix_targets_)",
        plan(store, statement, parameters),
    )
    return [name for name in found if any(re.match(rf"{large}(_\d+)?$", name) for large in LARGE)]


def test_a_devices_steps_and_the_passes_after_them_scan_nothing_large(fleet: Simulation) -> None:
    with carried_out(fleet.store) as statements:
        fleet.now += 60
        for device in fleet.devices.values():
            fleet.poll(device)
        fall_silent(fleet, "early", 3)
        fleet.pass_over_all()
        fleet.now += 60
        for device in fleet.devices.values():
            fleet.poll(device)
        fall_silent(fleet, "early", 100)
        fleet.pass_over_all()
        with fleet.store.read() as connection:
            assert len(components_of(connection, dict.fromkeys(range(1, 101), ""))) == 100
    with fleet.store.read() as connection:
        done = connection.execute(
            select(t.targets.c.status).where(t.targets.c.status == "completed")
        )
        assert len(done.all()) >= 2
    early = fleet.run("early")
    assert len(fleet.targets("early")) == DEVICES // 20 + 103
    assert early.cursor_pos > DEVICES // 20, "no order was walked"
    assert len(statements) > 50
    large = {
        sql: found
        for sql, parameters in statements.items()
        if (found := scans(fleet.store, sql, parameters))
    }
    assert not large, "\n\n".join(f"{tables}: {sql}" for sql, tables in large.items())
    assert not [found[0] for sql in statements for found in STATE_BY_PARAMETER.finditer(sql)]


def test_who_else_updates_a_device_is_found_among_those_who_do(fleet: Simulation) -> None:
    """Not among all that it ever installed."""
    with carried_out(fleet.store) as statements:
        for number in (1, 2):
            fleet.commit(*(of_a_store(n) for n in range(1, number + 1)))
            fleet.now += 60
            fleet.pass_over_all()
    plans = [
        plan(fleet.store, sql, parameters)
        for sql, parameters in statements.items()
        if "targets AS other" in sql
    ]
    assert len(plans) == 3
    for each in plans:
        looked_up = re.findall(r"(?:SEARCH|SCAN) other .*|Scan .*\bother\b", each)
        assert looked_up
        assert all("uq_targets_active" in line for line in looked_up), each


def of_a_store(number: int) -> str:
    """Deployments of one component, each over devices of its own."""
    filters = f"  filters: {{labels: {{store: s{number}}}}}\n"
    text = manifest("1.0.0", f"  strategy: immediate\n{filters}  maxConcurrent: 3\n", "part")
    return text.replace("name: part", f"name: part-{number}", 1)


def test_whether_a_device_is_in_a_run_costs_the_same_whatever_is_known_of_the_run(
    engine: str, tmp_path: Path
) -> None:
    """Of one that has just begun Postgres takes it that it has a few targets, and counts none."""
    fleet = Simulation(tmp_path, devices=0)
    with fleet.store.write() as connection:
        add_devices(connection, fleet.now)
    share = "  strategy: {type: batches, batches: [{name: few, size: 5%}]}\n"
    fleet.commit(manifest("1.0.0", share))
    run_seq = fleet.run().seq
    choice = choice_of(fleet.head, fleet.head.deployments["app"], run_seq, None, 0)
    with carried_out(fleet.store) as statements, fleet.store.read() as connection:
        others = select(t.edge_devices.c.seq).where(is_new(connection, choice))
        assert len(connection.execute(others).all()) == DEVICES - DEVICES // 20
    (planned,) = (
        plan(fleet.store, sql, parameters)
        for sql, parameters in statements.items()
        if "targets AS mine" in sql and "edge_devices" in sql
    )
    by_key = r"SEARCH mine USING PRIMARY KEY \(run_seq=\? AND device_seq=\?\)"
    assert re.search("hashed SubPlan" if engine == "postgres" else by_key, planned), planned


def test_no_row_is_looked_up_among_all_who_report(engine: str, tmp_path: Path) -> None:
    """Postgres keeps what it plans for a new fleet, whoever reports, while that fleet grows."""
    fleet = Simulation(tmp_path, devices=0)
    with fleet.store.write() as connection:
        add_devices(connection, fleet.now, 300)
    with fleet.store.engine.connect() as connection:
        plan = kept_plan(connection, asked_together(connection.dialect.name))
    assert "= ANY" not in plan, plan
    assert re.search("unnest|LIST SUBQUERY", plan), plan


def kept_plan(connection: Connection, asked: Select[Any]) -> str:
    """How the engine carries it out for devices that it was not told when it made its plan."""
    if is_postgres(connection):
        numbered = asked.compile(dialect=asyncpg.dialect())  # type: ignore[no-untyped-call]
        connection.exec_driver_sql("SET plan_cache_mode = force_generic_plan")
        connection.exec_driver_sql(f"PREPARE known AS {numbered}")
        given = ", ".join(f"'{each}'" for each in _given(numbered, "{1, 2}"))
        explained = connection.exec_driver_sql(f"EXPLAIN EXECUTE known({given})")
        connection.detach()
    else:
        compiled = asked.compile(dialect=connection.dialect)
        given_here = tuple(_given(compiled, "[1, 2]"))
        explained = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {compiled}", given_here)
    return "\n".join(str(value) for row in explained for value in row)


def _given(compiled: Any, devices: str) -> list[Any]:
    named = {**compiled.params, "devices": devices}
    return [named[name] for name in compiled.positiontup]
