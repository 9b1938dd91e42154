"""What passes of the reconciler cost with few and with many devices, a hundred Deployments active.

Times are of the processor: other work on the machine slows the clock. Each figure is a median.
"""

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Row, func, select, update

from bench.figures import Measured
from bench.plan import fleet_of
from tests.reconciler.simulation import ORGANIZATION, POLL_S, Simulation, manifest
from towline.reconciler.ingest import commit_reports
from towline.reconciler.loop import pass_over
from towline.reconciler.store import counters, dirt, inventory_rows
from towline.reconciler.store import tables as t
from towline.schemas.reports import Attempt, Report
from towline.schemas.states import TargetState

DEPLOYMENTS = 100
REPORTS = 1000
IDLE_PASSES = 200
OPENED = 1000
LOTS = ("first", "second", "third")
"""So many devices have each of these labels, however large the fleet: shares are whole percents."""
STEPS = (TargetState.DOWNLOADING, TargetState.INSTALLING, TargetState.VERIFYING)


@dataclass(frozen=True, slots=True)
class Costs:
    """Of one fleet, in milliseconds."""

    devices: int
    idle: float
    reports: float
    opening: float
    opening_in_budget: float


def measure(small: int, large: int) -> Measured:
    """The row."""
    few, many = _costs(small), _costs(large)
    values = {
        "pass-idle": many.idle,
        "pass-reports": many.reports / few.reports,
        "next": many.opening / few.opening,
        "open": many.opening_in_budget,
    }
    details = [
        f"{each.devices:,} devices: idle pass {each.idle:.2f} ms, pass after {REPORTS:,} reports"
        f" {each.reports:.0f} ms, open {OPENED:,} {each.opening:.0f} ms, with a budget"
        f" {each.opening_in_budget:.0f} ms"
        for each in (few, many)
    ]
    details.append("no Postgres server was measured: this row is of SQLite")
    return Measured(values, details)


def _costs(devices: int) -> Costs:
    with tempfile.TemporaryDirectory() as folder:
        fleet = _fleet(Path(folder), devices)
        opening = _opening(fleet, "wide", "")
        budget = "  disruptionBudget: {groupBy: site, maxUnavailable: 10}\n"
        in_budget = _opening(fleet, "careful", budget)
        fleet.commit(*(_narrow(number) for number in range(DEPLOYMENTS)))
        _grant(fleet)
        idle = statistics.median(_timed(lambda: _idle(fleet)) for _ in range(IDLE_PASSES))
        reports = [_after_reports(fleet, number, step) for number, step in enumerate(STEPS, 1)]
        fleet.store.close()
    return Costs(devices, idle, statistics.median(reports), opening, in_budget)


def _fleet(folder: Path, devices: int) -> Simulation:
    fleet = Simulation(folder, devices=0)
    fleet.stages_at_once = False
    rows = inventory_rows.Rows(ORGANIZATION, fleet.now)
    every = devices // (OPENED * len(LOTS))
    for device in fleet_of(devices, fleet.now):
        lot, rest = divmod(device.seq, every)
        is_chosen = not rest and lot <= OPENED * len(LOTS)
        labels = {**device.labels, "lot": LOTS[lot % len(LOTS)] if is_chosen else "none"}
        rows.add(replace(device, labels=labels, last_seen=fleet.now))
    with fleet.store.write() as connection:
        inventory_rows.fill(connection, rows)
    return fleet


def _timed(work: Callable[[], object]) -> float:
    """Milliseconds of the processor."""
    began = time.process_time()
    work()
    return (time.process_time() - began) * 1000


def _idle(fleet: Simulation) -> None:
    """What the loop asks of the store when nothing is to be done; its look at git comes on top."""
    with fleet.store.write() as connection:
        names = [
            *dirt.take(connection, ORGANIZATION),
            *dirt.due(connection, ORGANIZATION, fleet.now),
        ]
    with fleet.store.read() as connection:
        dirt.next_due(connection, ORGANIZATION)
    assert not names, names


def _opening(fleet: Simulation, name: str, more: str) -> float:
    """The pass that finds a batch of 1,000 passed, and opens the next one."""
    lots = "".join(
        f"      - {{name: {lot}, size: 100%, filters: {{labels: {{lot: {lot}}}}}}}\n"
        for lot in LOTS
    )
    strategy = f"  strategy:\n    type: batches\n    batches:\n{lots}"
    fleet.commit(manifest("1.0.0", strategy + more, name))
    _complete(fleet, name)
    took = _timed(lambda: _pass(fleet, name))
    with fleet.store.read() as connection:
        of_run = t.targets.c.run_seq == fleet.run(name).seq
        opened = connection.execute(select(func.count()).where(of_run)).scalar_one()
    assert opened == 2 * OPENED, opened
    return took


def _complete(fleet: Simulation, name: str) -> None:
    """All devices that have a target completed it, and were seen to run it."""
    run_seq, now = fleet.run(name).seq, fleet.now
    done = {"status": "completed", "granted_at": now, "completed_at": now, "verified_at": now}
    with fleet.store.write() as connection:
        connection.execute(update(t.targets).where(t.targets.c.run_seq == run_seq).values(done))
        counters.recount(connection, run_seq)


def _narrow(number: int) -> str:
    """A Deployment over two of the sites."""
    sites = f"[s{2 * number}, s{2 * number + 1}]"
    more = f"  strategy: immediate\n  filters: {{labels: {{site: {sites}}}}}\n  maxConcurrent: 50\n"
    return manifest("1.0.0", more, f"part-{number}")


def _grant(fleet: Simulation) -> None:
    """Let all devices have staged what they are to install; passes then grant what they may."""
    with fleet.store.write() as connection:
        parts = select(t.runs.c.seq).where(t.runs.c.deployment.like("part-%"))
        runs = connection.execute(parts).scalars().all()
        connection.execute(
            update(t.targets).where(t.targets.c.run_seq.in_(runs)).values(staged_at=fleet.now)
        )
        for run_seq in runs:
            counters.recount(connection, run_seq)
    for number in range(DEPLOYMENTS):
        _pass(fleet, f"part-{number}")
    with fleet.store.write() as connection:
        dirt.take(connection, ORGANIZATION)


def _pass(fleet: Simulation, name: str) -> None:
    pass_over(fleet.store, fleet.head, name, fleet.now, POLL_S)


def _after_reports(fleet: Simulation, number: int, state: TargetState) -> float:
    """The passes over all Deployments that 1,000 reports made dirty."""
    with fleet.store.write() as connection:
        reports = [(row.device_seq, _report(row, number, state)) for row in _at_work(connection)]
        assert len(reports) == REPORTS, len(reports)
        commit_reports(connection, fleet.now, reports)
        dirty = dirt.take(connection, ORGANIZATION)
    assert len(dirty) == DEPLOYMENTS, len(dirty)
    return _timed(lambda: [_pass(fleet, name) for name in dirty])


def _at_work(connection: Connection) -> Sequence[Row[Any]]:
    """Ten devices of each Deployment, the same ones each time."""
    place = func.row_number().over(
        partition_by=t.targets.c.run_seq, order_by=t.targets.c.device_seq
    )
    granted = (
        select(t.targets, t.runs.c.id, t.runs.c.revision, t.runs.c.source_commit, place.label("n"))
        .join(t.runs, t.runs.c.seq == t.targets.c.run_seq)
        .where(t.runs.c.deployment.like("part-%"), t.targets.c.granted_at.is_not(None))
        .subquery()
    )
    return connection.execute(select(granted).where(granted.c.n <= REPORTS // DEPLOYMENTS)).all()


def _report(row: Row[Any], number: int, state: TargetState) -> Report:
    attempt = Attempt(
        row.component, str(row.id), row.revision, row.attempt, row.source_commit, state
    )
    return Report("j", number, 0, attempt)
