"""What viewers of a live page cost the server: `python -m bench.live [DEVICES] [VIEWERS]`.

A server of its own process stands over one run of so many devices, which report at a steady pace
through HTTP; first nobody looks, then so many viewers do. Tells the share of one processor that the
server took in both, and how often a viewer was told something. No pass of the reconciler runs.
"""

import asyncio
import itertools
import multiprocessing
import os
import socket
import ssl
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import Connection, insert, select, update

from tests.reconciler.simulation import ORGANIZATION, POLL_S, Simulation, manifest
from towline.reconciler.server import tls
from towline.reconciler.server.doorbell import Doorbell
from towline.reconciler.server.fleets import FleetView
from towline.reconciler.server.service import Service, ServiceSettings
from towline.reconciler.store import counters, people
from towline.reconciler.store import tables as t
from towline.reconciler.store.engine import open_store
from towline.reconciler.store.people import Role
from towline.schemas.enrolment import secret_digest
from towline.schemas.identifiers import device_uuid
from towline.schemas.keys import PrivateKey

REPORTS_PER_S = 40
"""A rollout of 20,000 devices that takes forty minutes."""
MEASURED_S = 20
SETTLED_S = 3
STEPS = ("downloading", "installing", "verifying", "completed")
Reports = Iterator[tuple[int, dict[str, Any]]]
"""Whose, and what is sent."""
KEY = PrivateKey.from_raw(b"\2" * 32)


def main() -> None:
    """Print the shares."""
    devices = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    viewers = int(sys.argv[2]) if len(sys.argv) > 2 else 200
    with tempfile.TemporaryDirectory() as folder:
        token, run = _fill(Path(folder), devices)
        ours, theirs = multiprocessing.get_context("spawn").Pipe()
        server = multiprocessing.get_context("spawn").Process(
            target=_serve, args=(Path(folder), theirs)
        )
        server.start()
        try:
            port = ours.recv()
            asyncio.run(_measure(Path(folder), port, server.pid or 0, token, run, viewers))
        finally:
            ours.send("end")
            server.join()


def _fill(folder: Path, devices: int) -> tuple[str, dict[str, Any]]:
    """A run in which all the devices are at work; a viewer's token, and what reports say of it."""
    fleet = Simulation(folder, devices=1)
    _enrol(fleet, devices)
    fleet.stages_at_once = False
    fleet.commit(manifest("1.0.0", "  strategy: immediate\n"))
    with fleet.store.write() as connection:
        connection.execute(update(t.targets).values(granted_at=fleet.now, attempt=1))
        run = connection.execute(select(t.runs)).one()
        counters.recount(connection, run.seq)
        token = people.create_admin_token(
            connection, ORGANIZATION, name="Ada", role=Role.VIEWER, now=fleet.now
        )
        opened = connection.execute(select(t.batches.c.size)).scalars().all()
    assert sum(opened) == devices, opened
    fleet.store.close()
    told = {"component": "app", "deployment": str(run.id), "revision": run.revision}
    return token, told | {"commit": run.source_commit, "attempt": 1}


def _enrol(fleet: Simulation, number: int) -> None:
    with fleet.store.write() as connection:
        connection.execute(update(t.edge_devices).values(public_key=KEY.public.raw.hex()))
        first = connection.execute(select(t.edge_devices)).one()._asdict()
        rows = [
            first | {"seq": seq, "id": device_uuid(ORGANIZATION, f"d{seq}"), "slug": f"d{seq}"}
            for seq in range(2, number + 1)
        ]
        connection.execute(insert(t.edge_devices), rows)
        seen = {"last_seen": fleet.now, "facts": {}}
        connection.execute(
            insert(t.device_state), [{"device_seq": row["seq"], **seen} for row in rows]
        )
        _open_sessions(connection, number)


def _open_sessions(connection: Connection, number: int) -> None:
    far = {"opened_at": 0, "expires_at": 4_000_000_000}
    rows = [
        {"device_seq": seq, "digest": secret_digest(_session(seq)), **far}
        for seq in range(1, number + 1)
    ]
    connection.execute(insert(t.sessions), rows)


def _session(seq: int) -> str:
    return f"session-{seq}"


def _serve(folder: Path, pipe: Pipe) -> None:
    """The server's process: says its port, and serves until it is told to end."""
    store = open_store(folder / "towline.db")
    key = PrivateKey.generate()
    service = Service(
        store,
        ServiceSettings(POLL_S, folder, tls.ensure(folder, []), True, None, is_clock_accepted=True),
        Doorbell(),
        FleetView(ORGANIZATION, lambda: key, tuple, dict, lambda: None),
    )
    listener = socket.create_server(("127.0.0.1", 0), backlog=1000)
    pipe.send(listener.getsockname()[1])
    thread = threading.Thread(target=service.run, args=(listener,))
    thread.start()
    pipe.recv()
    service.end()
    thread.join()
    store.close()


async def _measure(
    folder: Path, port: int, pid: int, token: str, run: dict[str, Any], viewers: int
) -> None:
    context = ssl.create_default_context(cafile=str(tls.ensure(folder, []).certificate))
    reports = _reports(run)
    async with httpx.AsyncClient(base_url=f"https://127.0.0.1:{port}", verify=context) as client:
        alone = await _share(client, reports, pid)
        sys.stdout.write(f"{REPORTS_PER_S} reports/s, nobody looks: {alone:.1%} of a core\n")
        told = [0] * viewers
        looking = [
            asyncio.create_task(_look(context, port, token, run["deployment"], told, n))
            for n in range(viewers)
        ]
        await asyncio.gather(_share(client, reports, pid), _all_told(told))
        told[:] = [0] * viewers
        watched = await _share(client, reports, pid)
        for task in looking:
            task.cancel()
    sys.stdout.write(
        f"{REPORTS_PER_S} reports/s, {viewers} viewers: {watched:.1%} of a core,"
        f" {watched - alone:.1%} for them; each was told {min(told) / MEASURED_S:.2f} to"
        f" {max(told) / MEASURED_S:.2f} times a second\n"
    )


async def _all_told(told: list[int]) -> None:
    while not all(told):
        await asyncio.sleep(0.1)


async def _share(client: httpx.AsyncClient, reports: Reports, pid: int) -> float:
    """The share of a processor that the server takes while devices report."""
    began, before = time.monotonic(), _processor_s(pid)
    for n in itertools.count():
        ahead = began + n / REPORTS_PER_S - time.monotonic()
        if ahead > 0:
            await asyncio.sleep(ahead)
        if time.monotonic() - began > MEASURED_S:
            break
        seq, document = next(reports)
        answer = await client.post(
            "/api/v1/ota/reports",
            json=document,
            headers={"Authorization": f"Bearer {_session(seq)}"},
        )
        assert answer.status_code == 204, answer.text
    return (_processor_s(pid) - before) / (time.monotonic() - began)


def _reports(run: dict[str, Any]) -> Reports:
    """One step after the other, one device after the other."""
    for seq in itertools.count(1):
        for number, state in enumerate(STEPS, 1):
            yield (
                seq,
                {
                    "journal": "j",
                    "reportSeq": number,
                    "lastSequence": 0,
                    "facts": {},
                    "versions": {},
                    "state": state,
                    "reason": "",
                    "message": "",
                    **run,
                },
            )


async def _look(
    context: ssl.SSLContext, port: int, token: str, deployment: str, told: list[int], n: int
) -> None:
    """One viewer, who counts what it is told."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    writer.write(
        f"GET /api/v1/admin/ota/events/stream?deployment={deployment} HTTP/1.1\r\n"
        f"Host: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
    )
    while part := await reader.read(65536):
        told[n] += part.count(b"event: figures")


def _processor_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
