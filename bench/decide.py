"""How long decisions and observations take: `python -m bench.decide [DEVICES]`.

A hundred active Deployments are decided over; one of them over so many devices is observed.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import insert, select

from tests.reconciler.simulation import ORGANIZATION, POLL_S, Simulation, manifest
from towline.reconciler.decide import decide
from towline.reconciler.observe import observe
from towline.reconciler.snapshot import Snapshot
from towline.reconciler.store import tables as t
from towline.schemas.identifiers import device_uuid

ACTIVE = 100
REPEATS = 20


def main() -> None:
    """Print medians."""
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    with tempfile.TemporaryDirectory() as folder:
        fleet = Simulation(Path(folder), devices=1)
        fleet.stages_at_once = False
        _enrol(fleet, number)
        fleet.commit(manifest("1.0.0", "  strategy: canary\n"))
        worlds = [_observe(fleet) for _ in range(ACTIVE)]
        _tell(f"decide over {ACTIVE} active Deployments", lambda: [decide(each) for each in worlds])
        _tell(f"observe one over {number:,} devices", lambda: _observe(fleet))


def _observe(fleet: Simulation) -> Snapshot:
    with fleet.store.read() as connection:
        return observe(connection, fleet.head, "app", now=fleet.now, poll_interval_s=POLL_S)


def _enrol(fleet: Simulation, number: int) -> None:
    with fleet.store.write() as connection:
        first = connection.execute(select(t.edge_devices)).one()._asdict()
        rows = [
            first | {"seq": seq, "id": device_uuid(ORGANIZATION, slug), "slug": slug}
            for seq, slug in ((each, f"d{each}") for each in range(2, number + 1))
        ]
        connection.execute(insert(t.edge_devices), rows)
        seen = {"last_seen": fleet.now, "facts": {}}
        states = [{"device_seq": row["seq"], **seen} for row in rows]
        connection.execute(insert(t.device_state), states)


def _tell(what: str, work: Callable[[], object]) -> None:
    times = []
    for _ in range(REPEATS):
        began = time.process_time()
        work()
        times.append(time.process_time() - began)
    sys.stdout.write(f"{what}: {statistics.median(times) * 1000:.2f} ms of processor\n")


if __name__ == "__main__":
    main()
