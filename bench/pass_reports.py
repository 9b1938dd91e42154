"""Passes of a hundred active Deployments: with nothing to do, and after devices reported."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, func, select, update

from bench.pass_fleet import Side, analyze, pass_of
from tests.reconciler.simulation import ORGANIZATION, Simulation, checksum, manifest
from towline.reconciler.ingest import commit_reports
from towline.reconciler.store import counters, dirt
from towline.reconciler.store import tables as t
from towline.schemas.reports import Attempt, Installed, Report
from towline.schemas.states import TargetState

DEPLOYMENTS = 100
REPORTS = 1000
IDLE_PASSES = 200
STEPS = (
    TargetState.DOWNLOADING,
    TargetState.INSTALLING,
    TargetState.VERIFYING,
    TargetState.COMPLETED,
)


def begin_parts(side: Side) -> None:
    """Begin the Deployments, which is measured once, and let each grant what it may."""
    parts = [_narrow(number) for number in range(DEPLOYMENTS)]
    side.note({"begin": side.timed(lambda: side.fleet.commit(*parts))})
    _grant(side.fleet)


def idle(side: Side) -> dict[str, float]:
    """What the loop asks of the store when nothing is to be done; git's look comes on top."""
    took = side.timed(lambda: [_idle(side.fleet) for _ in range(IDLE_PASSES)])
    return {"idle": took / IDLE_PASSES}


def after_reports(side: Side) -> dict[str, float]:
    """The passes after each step of 1,000 devices, others each time."""
    fleet = side.fleet
    with fleet.store.read() as connection:
        rows = _at_work(connection)
    assert len(rows) == REPORTS, len(rows)
    return {step: _after(side, rows, number, step) for number, step in enumerate(STEPS, 1)}


def _idle(fleet: Simulation) -> None:
    with fleet.store.read() as connection:
        assert not dirt.ahead(connection, ORGANIZATION).is_work(fleet.now)


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
    analyze(fleet)
    # Twice: what one pass leaves to be asked now and then is asked, too.
    for number in (*range(DEPLOYMENTS), *range(DEPLOYMENTS)):
        pass_of(fleet, f"part-{number}")
    with fleet.store.write() as connection:
        dirt.take(connection, ORGANIZATION)


def _at_work(connection: Connection) -> Sequence[Row[Any]]:
    """Ten devices of each Deployment that are granted and have not begun."""
    place = func.row_number().over(
        partition_by=t.targets.c.run_seq, order_by=t.targets.c.device_seq
    )
    granted = (
        select(t.targets, t.runs.c.id, t.runs.c.revision, t.runs.c.source_commit, place.label("n"))
        .join(t.runs, t.runs.c.seq == t.targets.c.run_seq)
        .where(
            t.runs.c.deployment.like("part-%"),
            t.targets.c.granted_at.is_not(None),
            t.targets.c.status == TargetState.PENDING.value,
        )
        .subquery()
    )
    return connection.execute(select(granted).where(granted.c.n <= REPORTS // DEPLOYMENTS)).all()


def _after(side: Side, rows: Sequence[Row[Any]], number: int, state: TargetState) -> float:
    """The passes over all Deployments that 1,000 reports made dirty."""
    fleet = side.fleet
    with fleet.store.write() as connection:
        reports = [(row.device_seq, _report(row, number, state)) for row in rows]
        commit_reports(connection, fleet.now, reports)
        dirty = [name for name in dirt.take(connection, ORGANIZATION) if name.startswith("part-")]
    assert len(dirty) == DEPLOYMENTS, len(dirty)
    return side.timed(lambda: [pass_of(fleet, name) for name in dirty])


def _report(row: Row[Any], number: int, state: TargetState) -> Report:
    attempt = Attempt(
        row.component, str(row.id), row.revision, row.attempt, row.source_commit, state
    )
    is_done = state is TargetState.COMPLETED
    runs = {row.component: Installed("1.0.0", checksum("1.0.0"))} if is_done else {}
    return Report("j", number, 0, attempt, versions=runs)
