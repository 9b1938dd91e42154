"""A fleet for benches: devices that are enrolled and have sessions, and a run over all of them."""

from pathlib import Path

from sqlalchemy import insert, select, update

from bench.session import digest, session_of
from tests.reconciler.simulation import ORGANIZATION, Simulation, manifest
from towline.reconciler.store import tables as t
from towline.schemas.identifiers import device_uuid
from towline.schemas.keys import PrivateKey

KEY = PrivateKey.from_raw(b"\2" * 32)


def fill(folder: Path, devices: int) -> None:
    """A store in which all devices are selected by a Deployment."""
    fleet = Simulation(folder, devices=1)
    enrol(fleet, devices)
    fleet.stages_at_once = False
    fleet.commit(manifest("1.0.0", "  strategy: immediate\n"))
    fleet.store.close()


def enrol(fleet: Simulation, number: int) -> None:
    """Add devices to the fleet's one until there are so many; open a session for each."""
    with fleet.store.write() as connection:
        connection.execute(update(t.edge_devices).values(public_key=KEY.public.raw.hex()))
        first = connection.execute(select(t.edge_devices)).one()._asdict()
        rows = [
            first | {"seq": seq, "id": device_uuid(ORGANIZATION, f"d{seq}"), "slug": f"d{seq}"}
            for seq in range(2, number + 1)
        ]
        if rows:
            connection.execute(insert(t.edge_devices), rows)
            states = [
                {"device_seq": row["seq"], "last_seen": fleet.now, "facts": {}} for row in rows
            ]
            connection.execute(insert(t.device_state), states)
        far = {"opened_at": 0, "expires_at": 4_000_000_000}
        sessions = [
            {"device_seq": seq, "digest": digest(session_of(seq)), **far}
            for seq in range(1, number + 1)
        ]
        connection.execute(insert(t.sessions), sessions)
