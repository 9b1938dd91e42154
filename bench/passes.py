"""What passes of the reconciler cost with few and with many devices, a hundred Deployments active.

Times are of the processor, the database's own included: other work on the machine slows the clock.
Each figure is a median of a few.
"""

import statistics
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Row, func, select, text, update

from bench import crowd, machine
from bench.figures import Measured
from bench.stopwatch import Stopwatch
from tests import stores
from tests.postgres import databases
from tests.reconciler.simulation import ORGANIZATION, POLL_S, Simulation, checksum, manifest
from towline.reconciler.ingest import commit_reports
from towline.reconciler.passing import pass_over
from towline.reconciler.store import counters, dirt
from towline.reconciler.store import tables as t
from towline.schemas.reports import Attempt, Installed, Report
from towline.schemas.states import TargetState

DEPLOYMENTS = 100
REPORTS = 1000
IDLE_PASSES = 200
SETTINGS = {
    "shared_buffers": "1GB",
    "work_mem": "64MB",
    "maintenance_work_mem": "256MB",
    "max_wal_size": "4GB",
}
"""Of the Postgres that is measured; what a connection sets by itself comes on top."""
STEPS = (
    TargetState.DOWNLOADING,
    TargetState.INSTALLING,
    TargetState.VERIFYING,
    TargetState.COMPLETED,
)
_BUDGET = "  disruptionBudget: {groupBy: site, maxUnavailable: 10}\n"


@dataclass(frozen=True, slots=True)
class Costs:
    """Of one fleet, in milliseconds."""

    devices: int
    engine: str
    idle: float
    reports: Sequence[float]
    next: float
    next_in_budget: float
    opening: float
    begin: float

    @property
    def words(self) -> str:
        """For people."""
        of_reports = ", ".join(f"{each:.0f}" for each in self.reports)
        return (
            f"{self.engine}, {self.devices:,} devices: idle pass {self.idle:.2f} ms; passes after"
            f" {REPORTS:,} reports {of_reports} ms ({', '.join(STEPS)}); next {crowd.LOT:,}"
            f" {self.next:.0f} ms; opened and granted in a budget {self.next_in_budget:.0f} ms;"
            f" opening a batch of its own filters {self.opening:.0f} ms; beginning"
            f" {DEPLOYMENTS} Deployments {self.begin / 1000:.1f} s; load {machine.load()}"
        )


def measure(small: int, large: int, engines: Sequence[str] = ("sqlite", "postgres")) -> Measured:
    """The row."""
    values: dict[str, float] = {}
    details: list[str] = []
    for engine in engines:
        few, many = (_costs(engine, devices) for devices in (small, large))
        suffix = "" if engine == "sqlite" else f"-{engine}"
        values |= {
            f"pass-idle{suffix}": many.idle,
            f"pass-reports{suffix}": sum(many.reports) / sum(few.reports),
            f"next{suffix}": many.next / few.next,
            f"open{suffix}": many.next_in_budget,
        }
        details += [few.words, many.words]
    return Measured(values, details)


def _costs(engine: str, devices: int) -> Costs:
    with _place(engine), tempfile.TemporaryDirectory() as folder:
        fleet = _fleet(Path(folder), devices)
        watch = Stopwatch(fleet.store)
        opening = _opening(fleet, watch)
        next_ = _next(fleet, watch, "wide", "")[0]
        in_budget = sum(_next(fleet, watch, "careful", _BUDGET))
        begin = watch.timed(
            lambda: fleet.commit(*(_narrow(number) for number in range(DEPLOYMENTS)))
        )
        _grant(fleet)
        idle = watch.timed(lambda: [_idle(fleet) for _ in range(IDLE_PASSES)]) / IDLE_PASSES
        reports = [
            _after_reports(fleet, watch, number, step) for number, step in enumerate(STEPS, 1)
        ]
        fleet.store.close()
    return Costs(devices, engine, idle, reports, next_, in_budget, opening, begin)


@contextmanager
def _place(engine: str) -> Iterator[None]:
    """Where the stores of the block are."""
    postgres = databases(**SETTINGS) if engine == "postgres" else nullcontext()
    with postgres as found, stores.on(found):
        yield


def _fleet(folder: Path, devices: int) -> Simulation:
    fleet = Simulation(folder, devices=0)
    fleet.stages_at_once = False
    with fleet.store.write() as connection:
        crowd.fill(connection, devices, fleet.now)
    _analyze(fleet)
    return fleet


def _analyze(fleet: Simulation) -> None:
    """As the engines do by themselves now and then."""
    with fleet.store.engine.connect() as connection:
        connection.execute(text("ANALYZE"))
        connection.commit()


def _idle(fleet: Simulation) -> None:
    """What the loop asks of the store when nothing is to be done; its look at git comes on top."""
    with fleet.store.read() as connection:
        assert not dirt.ahead(connection, ORGANIZATION).is_work(fleet.now)


def _opening(fleet: Simulation, watch: Stopwatch) -> float:
    """The pass that finds a batch of 1,000 passed, and opens the next one."""
    lots = "".join(
        f"      - {{name: {lot}, size: 100%, filters: {{labels: {{lot: {lot}}}}}}}\n"
        for lot in crowd.LOTS
    )
    fleet.commit(manifest("1.0.0", f"  strategy:\n    type: batches\n    batches:\n{lots}", "lots"))
    _complete(fleet, "lots")
    took = watch.timed(lambda: _pass(fleet, "lots"))
    opened = _count(fleet, "lots")
    assert opened == 2 * crowd.LOT, opened
    return took


def _next(fleet: Simulation, watch: Stopwatch, name: str, more: str) -> tuple[float, float]:
    """The pass that puts the next 1,000 of the fleet in the place of such as fell silent.

    And the pass that grants them all.
    """
    share = "  strategy:\n    type: batches\n    batches:\n      - {name: first, size: 5%}\n"
    fleet.commit(manifest("1.0.0", f"{share}  maxConcurrent: {crowd.LOT}\n{more}", name))
    members = _count(fleet, name)
    took = []
    for _ in range(3):
        _excuse(fleet, name, crowd.LOT)
        took.append(watch.timed(lambda: _pass(fleet, name)))
        members += crowd.LOT
        assert _count(fleet, name) == members
    _stage(fleet, name)
    granting = watch.timed(lambda: _pass(fleet, name))
    with fleet.store.read() as connection:
        granted = t.targets.c.granted_at.is_not(None)
        of_run = t.targets.c.run_seq == fleet.run(name).seq
        n = connection.execute(select(func.count()).where(of_run, granted)).scalar_one()
    assert n == crowd.LOT, n
    return statistics.median(took), granting


def _count(fleet: Simulation, name: str) -> int:
    with fleet.store.read() as connection:
        of_run = t.targets.c.run_seq == fleet.run(name).seq
        return connection.execute(select(func.count()).where(of_run)).scalar_one()


def _complete(fleet: Simulation, name: str) -> None:
    """All devices that have a target completed it, and were seen to run it."""
    now = fleet.now
    done = {"status": "completed", "granted_at": now, "completed_at": now, "verified_at": now}
    _set(fleet, name, done)


def _stage(fleet: Simulation, name: str) -> None:
    _set(fleet, name, {"staged_at": fleet.now})


def _excuse(fleet: Simulation, name: str, number: int) -> None:
    """So many devices of the run fell silent before their grant."""
    run_seq = fleet.run(name).seq
    with fleet.store.write() as connection:
        pending = (
            select(t.targets.c.device_seq)
            .where(t.targets.c.run_seq == run_seq, t.targets.c.status == "pending")
            .order_by(t.targets.c.device_seq)
            .limit(number)
        )
        connection.execute(
            update(t.targets)
            .where(t.targets.c.run_seq == run_seq, t.targets.c.device_seq.in_(pending))
            .values(status="skipped", reason="OfflineDeferred")
        )
        # They are away; who was just seen would be back at once.
        connection.execute(
            update(t.device_state)
            .where(
                t.device_state.c.device_seq.in_(
                    select(t.targets.c.device_seq).where(
                        t.targets.c.run_seq == run_seq, t.targets.c.status == "skipped"
                    )
                )
            )
            .values(last_seen=fleet.now - 10 * POLL_S)
        )
        counters.recount(connection, run_seq)


def _set(fleet: Simulation, name: str, values: dict[str, Any]) -> None:
    run_seq = fleet.run(name).seq
    with fleet.store.write() as connection:
        of_run = t.targets.c.run_seq == run_seq
        connection.execute(
            update(t.targets).where(of_run, t.targets.c.status == "pending").values(values)
        )
        counters.recount(connection, run_seq)


def _narrow(number: int) -> str:
    """A Deployment over two of the sites; all are of one component."""
    sites = f"[s{2 * number}, s{2 * number + 1}]"
    more = f"  strategy: immediate\n  filters: {{labels: {{site: {sites}}}}}\n  maxConcurrent: 50\n"
    text = manifest("1.0.0", more, "system")
    return text.replace("name: system", f"name: part-{number}", 1)


def _grant(fleet: Simulation) -> None:
    """Let all devices have staged what they are to install; passes then grant what they may."""
    with fleet.store.write() as connection:
        connection.execute(
            update(t.targets)
            .where(t.targets.c.component == "system")
            .values(staged_at=fleet.now, reason="Staged")
        )
        parts = select(t.runs.c.seq).where(t.runs.c.deployment.like("part-%"))
        for run_seq in connection.execute(parts).scalars().all():
            counters.recount(connection, run_seq)
    _analyze(fleet)
    # Twice: what one pass leaves to be asked now and then is asked, too.
    for number in (*range(DEPLOYMENTS), *range(DEPLOYMENTS)):
        _pass(fleet, f"part-{number}")
    with fleet.store.write() as connection:
        dirt.take(connection, ORGANIZATION)


def _pass(fleet: Simulation, name: str) -> None:
    pass_over(fleet.store, fleet.head, name, fleet.now, POLL_S)


def _after_reports(fleet: Simulation, watch: Stopwatch, number: int, state: TargetState) -> float:
    """The passes over all Deployments that 1,000 reports made dirty."""
    with fleet.store.write() as connection:
        reports = [(row.device_seq, _report(row, number, state)) for row in _at_work(connection)]
        assert len(reports) == REPORTS, len(reports)
        commit_reports(connection, fleet.now, reports)
        dirty = [name for name in dirt.take(connection, ORGANIZATION) if name.startswith("part-")]
    assert len(dirty) == DEPLOYMENTS, len(dirty)
    return watch.timed(lambda: [_pass(fleet, name) for name in dirty])


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
    is_done = state is TargetState.COMPLETED
    runs = {row.component: Installed("1.0.0", checksum("1.0.0"))} if is_done else {}
    return Report("j", number, 0, attempt, versions=runs)
