"""A server as `towline serve` starts it, with devices that nobody hears of: what it has in memory.

Nobody asks it anything. What the API and the pages need is not loaded then, and is told apart.
"""

import tempfile
import time
from pathlib import Path

from sqlalchemy import insert

from bench.session import digest, session_of
from tests.swarm.served import ServedFleet
from towline.reconciler.store import tables as t
from towline.reconciler.store.engine import open_store
from towline.reconciler.store.labels import intern_labels
from towline.schemas.identifiers import device_uuid
from towline.schemas.keys import PrivateKey

ORGANIZATION = "demo"
"""Of the fleet that is served."""
REST_S, RESTING_S, PATIENCE_S = 5, 0.1, 120
"""It rests when it takes no more of the processor than that in so long."""


def measured_mb(devices: int) -> tuple[float, float]:
    """At rest, and after a person asked; megabytes."""
    with tempfile.TemporaryDirectory() as folder:
        fleet = ServedFleet(Path(folder), 300)
        # The first start makes the store: what making it takes is not to be seen.
        fleet.serve()
        fleet.stop()
        if devices:
            _enrol(fleet.data / "towline.db", devices)
        try:
            fleet.begin()
            _await_rest(fleet)
            alone = fleet.server_memory_mib
            fleet.client.get("/repository")
            _await_rest(fleet)
            return alone * 2**20 / 1e6, fleet.server_memory_mib * 2**20 / 1e6
        finally:
            fleet.stop()


def _await_rest(fleet: ServedFleet) -> None:
    ends_at, before = time.monotonic() + PATIENCE_S, -1.0
    while (taken := fleet.server_processor_s) - before > RESTING_S or not taken:
        assert time.monotonic() < ends_at, "the server does not come to rest"
        before = taken
        time.sleep(REST_S)


def _enrol(file: Path, number: int) -> None:
    """So many devices that were just seen, each with a key and a session of its own."""
    now, seqs = int(time.time()), range(1, number + 1)
    far = {"opened_at": now, "expires_at": 4_000_000_000}
    store = open_store(file)
    with store.write() as connection:
        given = {f"labels_{source}": {} for source in ("git", "people", "join")}
        of_all = {"organization": ORGANIZATION, "device_type": "generic", "state": "active"}
        of_all |= {"label_set_id": intern_labels(connection, {}), "created_at": now}
        devices = [
            of_all
            | given
            | {"seq": seq, "slug": f"d{seq}", "id": device_uuid(ORGANIZATION, f"d{seq}")}
            | {"public_key": PrivateKey.from_raw(seq.to_bytes(32)).public.raw.hex()}
            for seq in seqs
        ]
        states = [{"device_seq": seq, "last_seen": now, "facts": {}} for seq in seqs]
        sessions = [{"device_seq": seq, "digest": digest(session_of(seq)), **far} for seq in seqs]
        for table, rows in ((t.edge_devices, devices), (t.device_state, states)):
            connection.execute(insert(table), rows)
        connection.execute(insert(t.sessions), sessions)
    store.close()
