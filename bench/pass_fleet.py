"""The fleet whose passes are measured, and what is done to its store between them.

Statements of the bench stand for what devices would do in minutes: complete, stage, fall silent.
What is done here is never in a measured time.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, func, select, text, update

from bench import crowd
from bench.durable import gone_by
from bench.stopwatch import Stopwatch
from tests import stores
from tests.postgres import databases
from tests.reconciler.simulation import POLL_S, Simulation
from towline.reconciler.passing import pass_over
from towline.reconciler.store import counters
from towline.reconciler.store import tables as t

SETTINGS = {
    "shared_buffers": "1GB",
    "work_mem": "64MB",
    "maintenance_work_mem": "256MB",
    "max_wal_size": "4GB",
}
"""Of the Postgres that is measured; what a connection sets by itself comes on top."""


@dataclass
class Side:
    """One fleet under measure, and what each piece of work took so far, in milliseconds."""

    fleet: Simulation
    devices: int
    took: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def __post_init__(self) -> None:
        self._watch = Stopwatch(self.fleet.store)

    def timed(self, work: Callable[[], object]) -> float:
        """Milliseconds of the processors that the work took."""
        return self._watch.timed(work)

    def note(self, found: Mapping[str, float]) -> None:
        """Keep what one turn took."""
        for name, took_ms in found.items():
            self.took[name].append(took_ms)


@contextmanager
def place(engine: str) -> Iterator[str]:
    """Where the stores of the block are; yields words on what their Postgres goes by."""
    postgres = databases(**SETTINGS) if engine == "postgres" else nullcontext()
    with postgres as found, stores.on(found):
        # Times are of the processor: how durable it is does not matter.
        yield "" if found is None else gone_by(found.setting, SETTINGS, {}).words


def made(folder: Path, devices: int) -> Side:
    """A fleet of so many devices, none of which has heard of a Deployment."""
    folder.mkdir()
    fleet = Simulation(folder, devices=0)
    fleet.stages_at_once = False
    with fleet.store.write() as connection:
        crowd.fill(connection, devices, fleet.now)
    analyze(fleet)
    return Side(fleet, devices)


def analyze(fleet: Simulation) -> None:
    """As the engines do by themselves now and then."""
    with fleet.store.engine.connect() as connection:
        connection.execute(text("ANALYZE"))
        connection.commit()


def pass_of(fleet: Simulation, name: str) -> None:
    """One pass over a Deployment."""
    pass_over(fleet.store, fleet.head, name, fleet.now, POLL_S)


def count(fleet: Simulation, name: str) -> int:
    """How many devices entered its run."""
    with fleet.store.read() as connection:
        of_run = t.targets.c.run_seq == fleet.run(name).seq
        return connection.execute(select(func.count()).where(of_run)).scalar_one()


def complete(fleet: Simulation, name: str) -> None:
    """All devices that wait completed it, and were seen to run it."""
    _set(fleet, name, _done(fleet) | {"granted_at": fleet.now})


def complete_granted(fleet: Simulation, name: str) -> None:
    """Those that hold a grant completed it; the others have not staged it yet."""
    is_granted = t.targets.c.granted_at.is_not(None)
    _set(fleet, name, _done(fleet), is_granted)
    _set(fleet, name, {"staged_at": None}, ~is_granted)


def stage(fleet: Simulation, name: str) -> None:
    """All that are to prepare have staged it."""
    _set(fleet, name, {"staged_at": fleet.now})


def excuse(fleet: Simulation, name: str, number: int) -> None:
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


def _done(fleet: Simulation) -> dict[str, Any]:
    return {"status": "completed", "completed_at": fleet.now, "verified_at": fleet.now}


def _set(
    fleet: Simulation, name: str, values: dict[str, Any], where: ColumnElement[bool] | None = None
) -> None:
    """Of all that wait in the run, or of some of them."""
    run_seq = fleet.run(name).seq
    with fleet.store.write() as connection:
        waits = (t.targets.c.run_seq == run_seq) & (t.targets.c.status == "pending")
        some = waits if where is None else waits & where
        connection.execute(update(t.targets).where(some).values(values))
        counters.recount(connection, run_seq)
