"""The same life over SQLite and over Postgres comes to the same rows, documents and words."""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test
from sqlalchemy import Select, Table, select

from tests import stores
from tests.postgres import Databases
from tests.reconciler.looking import device_verb, drift
from tests.reconciler.simulation import (
    ORGANIZATION,
    POLL_S,
    Simulation,
    attempt_of,
    checksum,
    manifest,
)
from tests.reconciler.test_invariants import FleetLife
from tests.soaking import examples, is_soaking
from towline.reconciler.acts import Act
from towline.reconciler.explain_deployment import explain_deployment
from towline.reconciler.explain_device import explain_device
from towline.reconciler.ingest import commit_reports
from towline.reconciler.live_figures import Subject, figures
from towline.reconciler.replaying import replay_store
from towline.reconciler.showing import Sight
from towline.reconciler.store import device_parts, reading_events
from towline.reconciler.store import tables as t
from towline.reconciler.store.device_lists import DeviceOrder, FleetFilter
from towline.reconciler.store.reading_events import EventFilter
from towline.reconciler.store.soundness import orphans, wrong_counts
from towline.schemas import fields, reports
from towline.schemas.reports import Installed, Report
from towline.schemas.states import TargetState, Verb

ARMS = (
    "  strategy: immediate\n"
    "  experiment: {arms: [{name: a, weight: 50}, {name: b, weight: 50, targetVersion: '2.5.0',"
    f" package: {{url: app-2.5.0.tar.gz, checksum: 'sha256:{checksum('2.5.0')}'}}}}]}}\n"
)
BUDGET = "  strategy: immediate\n  disruptionBudget: {groupBy: store, maxUnavailable: 1}\n"
BATCHES = (
    "  strategy: {type: batches, batches: [{name: a, size: 40%, approval: manual}, {name: b,"
    " size: 100%}]}\n  start: manual\n  order: name\n"
)
BY_NAME = "  strategy: {type: rolling, batchSize: 40%, minDevices: 1}\n  order: name\n  soak: 2m\n"


def fails(fleet: Simulation, version: str, *names: str) -> None:
    for name in names:
        fleet.devices[name].breaks = lambda wanted: wanted == version


def canary_and_return(fleet: Simulation) -> None:
    spec = "  strategy: canary\n  onFailure: rollback\n"
    fleet.commit(manifest("1.0.0", spec))
    fleet.step(7)
    fails(fleet, "2.0.0", *fleet.devices)
    fleet.commit(manifest("2.0.0", spec))
    fleet.step(3)
    fleet.commit(manifest("1.0.0", spec))
    fleet.step(4)


def rolling_by_name_past_the_silent(fleet: Simulation) -> None:
    fleet.devices["till-2"].is_online = False
    fleet.commit(manifest("1.0.0", BY_NAME))
    fleet.step(7)
    fleet.devices["till-2"].is_online = True
    fleet.step(4)


def batches_with_people(fleet: Simulation) -> None:
    fleet.commit(manifest("1.0.0", BATCHES))
    fleet.verb(Verb.START)
    fleet.step(3)
    fleet.verb(Verb.APPROVE)
    fleet.verb(Act(Verb.PAUSE, pause_s=120))
    fleet.step(5)


def budget_of_two_deployments(fleet: Simulation) -> None:
    fleet.commit(manifest("1.0.0", BUDGET), manifest("3.0.0", BUDGET, "firmware"))
    fleet.step(7)


def experiment(fleet: Simulation) -> None:
    fleet.commit(manifest("2.5.0", "  strategy: immediate\n  start: manual\n"))
    fleet.commit(manifest("2.0.0", ARMS))
    fleet.step(4)
    fails(fleet, "3.0.0", "till-1")
    fleet.commit(manifest("3.0.0", ARMS))
    fleet.step(3)
    fleet.verb(Verb.RETRY)
    fleet.step(2)


def drift_pins_and_retries(fleet: Simulation) -> None:
    fleet.commit(manifest("1.0.0", "  strategy: immediate\n"))
    fleet.step(4)
    drift(fleet, "till-1", "till-3")
    fleet.step(3)
    fleet.commit(manifest("2.0.0", "  strategy: immediate\n"))
    fleet.step(3)
    device_verb(fleet, Verb.ROLLBACK, "till-4", "1.0.0")
    fleet.step(2)
    fleet.commit()


LIVES = [canary_and_return, budget_of_two_deployments, experiment]
LONG_LIVES = [
    rolling_by_name_past_the_silent,
    batches_with_people,
    drift_pins_and_retries,
]
"""Tried by `make soak`."""


def everything(fleet: Simulation) -> dict[str, Any]:
    """All rows, and what is told of them."""
    sight = Sight(fleet.now, fleet.head, POLL_S)
    names = sorted({*fleet.head.deployments, "app"})
    with fleet.store.read() as connection:
        assert (wrong_counts(connection), orphans(connection)) == ([], [])
        found: dict[str, Any] = {
            table.name: sorted(map(tuple, connection.execute(_without_ids(table))), key=repr)
            for table in t.metadata.tables.values()
            if table is not t.change_outbox  # a store in a file has no other processes to tell
        }
        replayed = replay_store(connection, ORGANIZATION, None, None)
        assert replayed["differences"] == 0
        found["replay"] = replayed
        for name in names:
            found[f"explained {name}"] = explain_deployment(connection, ORGANIZATION, name, sight)
            found[f"figures {name}"] = figures(connection, Subject(ORGANIZATION, name), 0)
        for name in fleet.devices:
            found[f"explained {name}"] = explain_device(connection, ORGANIZATION, name, sight)
        for order in DeviceOrder:
            found[order] = device_parts.devices_part(
                connection, ORGANIZATION, FleetFilter(contains="till"), 3, fleet.now - 90, order
            )
        for wanted in (EventFilter(is_important=True), EventFilter(device="till-1")):
            found[repr(wanted)] = reading_events.events(connection, ORGANIZATION, wanted, 50)
    for device in fleet.devices.values():
        found[f"document of {device.name}"] = fleet.wanted(device)
    return found


def _without_ids(table: Table) -> Select[Any]:
    """SQLite gives the number of a hold that is over to the next one."""
    if table is t.holds:
        return select(*(column for column in table.columns if column.name != "id"))
    if table is t.events:
        return select(table).where(table.c.kind != "changed.hold")
    return select(table)


@pytest.mark.parametrize(
    "life", LIVES + LONG_LIVES * is_soaking(), ids=lambda life: str(life.__name__)
)
def test_the_same_life_comes_to_the_same(
    life: Callable[[Simulation], None], databases: Databases, tmp_path: Path
) -> None:
    lived = []
    for number, where in enumerate((None, databases)):
        with stores.on(where):
            folder = tmp_path / str(number)
            folder.mkdir()
            fleet = Simulation(folder, devices=0)
            for n in range(1, 6):
                fleet.enrol(f"till-{n}", store=f"s{n % 2}")
            life(fleet)
            lived.append(everything(fleet))
    for one, other in pairwise(lived):
        assert one.keys() == other.keys()
        for what in one:
            assert one[what] == other[what], what


@pytest.mark.both_engines
def test_the_longest_that_a_device_may_say_is_kept(tmp_path: Path) -> None:
    fleet = Simulation(tmp_path, devices=1)
    fleet.commit(manifest("1.0.0", "  strategy: immediate\n"))
    device = fleet.devices["till-1"]
    (wanted,) = fleet.wanted(device)
    told = attempt_of(wanted, TargetState.FAILED, "R" * reports.WORD_LIMIT)
    told = replace(told, message="é" * reports.MESSAGE_LIMIT, progress=fields.MOST_32)
    said = Report(
        "j" * 64,
        1,
        fields.MOST,
        told,
        "r" * reports.WORD_LIMIT,
        {"a": "\\u0000"},
        {"a" * 63: Installed("1" * 100, "ee" * 32)},
    )
    read = reports.parse(said.document())
    with fleet.store.write() as connection:
        commit_reports(connection, fleet.now, [(device.seq, read)])
        kept = connection.execute(select(t.targets.c.error_message)).scalar_one()
    assert kept == told.message


def test_any_life_keeps_the_invariants_on_a_database(databases: Databases) -> None:
    few = settings(max_examples=examples(1), stateful_step_count=10)
    with stores.on(databases):
        run_state_machine_as_test(FleetLife, settings=few)
