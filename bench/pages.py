"""How long the pages of a large fleet take: `python -m bench.pages [DEVICES] [CALLS]`.

Fills a store (5 labels, 6 versions, 85 % online; a Deployment that every device completed, one that
is half-way with failing devices, 50,000 events) and calls the API and the dashboard over HTTP, each
with other words each time. Tells the median and the 95th percentile of each, by the clock and by
the processor (the caller's part is in it), since other work on the machine slows the clock.
"""

import random
import socket
import ssl
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
from sqlalchemy import Connection, insert, update

from bench.plan import fleet_of
from tests.server.visiting import Guest
from towline.reconciler.server import tls
from towline.reconciler.server.doorbell import Doorbell
from towline.reconciler.server.fleets import FleetView
from towline.reconciler.server.service import Service, ServiceSettings
from towline.reconciler.store import counters, inventory_rows, people, repositories
from towline.reconciler.store import tables as t
from towline.reconciler.store.engine import Store, open_store
from towline.reconciler.store.people import Role
from towline.schemas.keys import PrivateKey
from towline.schemas.states import TargetState

ORGANIZATION = "acme"
POLL_S = 300
EVENTS = 50_000
PACKAGE = "aa" * 32
API, PAGE = "/api/v1/admin/ota", "/admin/edge/ota"
Chance = random.Random


@dataclass(frozen=True)
class Call:
    """One kind of call, and how long it may take at the 95th percentile."""

    name: str
    limit_ms: int
    path: Callable[[Chance], str]
    query: Callable[[Chance], Mapping[str, Any]] = lambda _: {}


def api(name: str, limit_ms: int, path: str, **query: Callable[[Chance], Any] | str) -> Call:
    """A call of the API; what is callable differs each time."""

    def made(chance: Chance) -> dict[str, Any]:
        return {key: value(chance) if callable(value) else value for key, value in query.items()}

    return Call(name, limit_ms, lambda _: API + path, made)


CALLS = (
    api("devices: first page", 200, "/devices"),
    api("devices: further page", 200, "/devices", cursor=lambda c: f"edge-{c.randrange(10**5):07}"),
    api("devices: search", 200, "/devices", contains=lambda c: f"{c.randrange(1000):03}"),
    api("devices: search, nothing found", 200, "/devices", contains="nothing"),
    api("devices: label", 200, "/devices", label=lambda c: f"site=s{c.randrange(200)}"),
    api("devices: label of many", 200, "/devices", label="env=prod"),
    api("devices: type", 200, "/devices", type="generic"),
    api("devices: offline", 200, "/devices", presence="offline"),
    api("devices: version", 200, "/devices", version=lambda c: f"1.{c.randrange(6)}.0"),
    api("devices: status", 200, "/devices", status="completed"),
    api("devices: failing", 200, "/devices", failing="true"),
    api("devices: drift", 200, "/devices", drift="true"),
    api("devices: last seen first", 200, "/devices", sort="-last_seen"),
    api("deployments", 200, "/deployments"),
    api("deployment under way", 150, "/deployments/half"),
    api("deployment, completed", 150, "/deployments/whole"),
    api("targets of a run, failing", 150, "/deployments/half/devices", status="failed"),
    api("batches", 150, "/deployments/half/batches"),
    api("events of a deployment", 200, "/events", deployment="half"),
    api("events of a device", 200, "/events", device=lambda c: f"edge-{c.randrange(10**5):07}"),
    Call("page: fleet", 200, lambda _: f"{PAGE}/fleet"),
    Call("page: deployment", 150, lambda _: f"{PAGE}/deployments/half"),
)


@dataclass
class _Reached:
    """As a guest of the dashboard reaches the server."""

    client: httpx.Client
    tokens: dict[str, str]


def main() -> None:
    """Measure each."""
    devices = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    calls = int(sys.argv[2]) if len(sys.argv) > 2 else 40
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(Path(folder) / "towline.db")
        with store.write() as connection:
            token = _fill(connection, devices, int(time.time()))
        sys.stdout.write(f"{devices} devices, {calls} calls each: median and 95th percentile\n")
        with _served(store, Path(folder), token) as client:
            for call in CALLS:
                _measure(client, call, calls)
        store.close()


def _measure(client: httpx.Client, call: Call, calls: int) -> None:
    chance = Chance(1)
    took, worked = [], []
    for _ in range(calls + 1):
        path, query = call.path(chance), call.query(chance)
        began, busy = time.perf_counter(), time.process_time()
        answer = client.get(path, params=query)
        took.append((time.perf_counter() - began) * 1000)
        worked.append((time.process_time() - busy) * 1000)
        if answer.status_code != 200:
            sys.stdout.write(f"{call.name:32} {answer.status_code} {answer.text[:80]}\n")
            return
    clock, processor = _middle_and_p95(took[1:]), _middle_and_p95(worked[1:])
    mark = "" if processor[1] <= call.limit_ms else f"  over {call.limit_ms} ms"
    sys.stdout.write(
        f"{call.name:32} {clock[0]:7.1f} {clock[1]:7.1f} ms"
        f"   processor {processor[0]:7.1f} {processor[1]:7.1f} ms{mark}\n"
    )


def _middle_and_p95(times: list[float]) -> tuple[float, float]:
    return statistics.median(times), sorted(times)[int(len(times) * 0.95) - 1]


@contextmanager
def _served(store: Store, folder: Path, token: str) -> Iterator[httpx.Client]:
    certificate = tls.ensure(folder, [])
    key = PrivateKey.generate()
    service = Service(
        store,
        ServiceSettings(POLL_S, folder, certificate, True, None),
        Doorbell(),
        FleetView(ORGANIZATION, lambda: key, tuple, dict, lambda: None),
    )
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=service.run, args=(listener,))
    thread.start()
    url = f"https://127.0.0.1:{listener.getsockname()[1]}"
    context = ssl.create_default_context(cafile=str(certificate.certificate))
    headers = {"Authorization": f"Bearer {token}"}
    try:
        with httpx.Client(base_url=url, verify=context, timeout=60, headers=headers) as client:
            Guest(_Reached(client, {"viewer": token})).sign_in("viewer")
            yield client
    finally:
        service.end()
        thread.join()
        listener.close()


def _fill(connection: Connection, devices: int, now: int) -> str:
    """The fleet; returns a viewer's token."""
    repositories.ensure(connection, ORGANIZATION, "fleet", "main", "", now)
    rows = inventory_rows.Rows(ORGANIZATION, now)
    for device in fleet_of(devices, now):
        rows.add(device)
    inventory_rows.fill(connection, rows)
    chance = Chance(2)
    whole = _run(connection, "whole", "completed", devices, now - 86400)
    _targets(connection, whole, [_completed(seq, now, chance) for seq in _seqs(devices)])
    half = _run(connection, "half", "in_progress", devices, now - 7200)
    _targets(connection, half, [_under_way(seq, now, chance) for seq in _seqs(devices // 2)])
    # One in a thousand reports another package since.
    drifted = [seq for seq in _seqs(devices) if chance.random() < 0.001]
    connection.execute(
        update(t.device_components)
        .where(t.device_components.c.device_seq.in_(drifted))
        .values(sha256="bb" * 32)
    )
    _events(connection, devices, now)
    return people.create_admin_token(
        connection, ORGANIZATION, name="Ada", role=Role.VIEWER, now=now
    )


def _seqs(number: int) -> range:
    return range(1, number + 1)


def _completed(seq: int, now: int, chance: Chance) -> dict[str, Any]:
    granted = now - 80_000 + chance.randrange(40_000)
    times = {"granted_at": granted, "completed_at": granted + 90}
    verified = {"verified_at": granted + chance.randrange(100, 400)}
    return {"device_seq": seq, "status": "completed", "sha256": PACKAGE} | times | verified


def _under_way(seq: int, now: int, chance: Chance) -> dict[str, Any]:
    states = list(TargetState)
    (state,) = chance.choices(states, weights=[20, 5, 5, 5, 60, 2, 2, 1])
    found = _completed(seq, now, chance) | {"status": state.value}
    if state is TargetState.PENDING:
        found |= {"granted_at": None}
    if state is not TargetState.COMPLETED:
        found |= {"verified_at": None}
    return found


def _run(connection: Connection, name: str, status: str, targets: int, at: int) -> int:
    values = {
        "id": uuid4(),
        "organization": ORGANIZATION,
        "deployment": name,
        "revision": "ef" * 32,
        "turn": 0,
        "component": "app",
        "deployment_name": name,
        "target_version": "1.5.0",
        "rollout_strategy": "canary",
        "rollout_percentage": 10,
        "status": status,
        "reason": "RollingOut" if status == "in_progress" else "",
        "is_return": False,
        "is_retry": False,
        "start_requested": False,
        "source_commit": "12" * 20,
        "author": "Ada <ada@example.com>",
        "created_by": uuid4(),
        "metadata": {"update_package_url": "", "checksum": "", "release_notes": ""},
        "offer": {"sha256": PACKAGE},
        "target_count": targets,
        "perm_p": 2,
        "perm_step": 1,
        "perm_off": 0,
        "started_at": at,
        "created_at": at,
        "updated_at": at,
    }
    made = connection.execute(insert(t.runs).returning(t.runs.c.seq), values)
    return int(made.scalar_one())


def _targets(connection: Connection, run_seq: int, rows: list[dict[str, Any]]) -> None:
    first = len(rows) // 10
    common = {"run_seq": run_seq, "component": "app", "attempt": 1, "created_at": 0}
    connection.execute(
        insert(t.targets),
        [row | common | {"batch": int(at >= first), "position": at} for at, row in enumerate(rows)],
    )
    for number, size in enumerate((first, len(rows) - first)):
        batch = {
            "run_seq": run_seq,
            "number": number,
            "name": f"batch {number}",
            "is_last": bool(number),
            "state": "open" if number else "passed",
            "size": size,
            "success_threshold": 95,
            "soak_s": 0,
            "opened_at": 0,
        }
        connection.execute(insert(t.batches), batch)
    counters.recount(connection, run_seq)


def _events(connection: Connection, devices: int, now: int) -> None:
    rows = [
        {
            "at": now - EVENTS + at,
            "organization": ORGANIZATION,
            "kind": "device.completed" if at % 20 else "device.failed",
            "deployment": "half",
            "device": f"edge-{1 + at % devices:07}",
            "data": {},
        }
        for at in range(EVENTS)
    ]
    connection.execute(insert(t.events), rows)


if __name__ == "__main__":
    main()
