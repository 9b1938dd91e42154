"""How long the pages of a large fleet take: `python -m bench.pages [DEVICES] [CALLS] [ENGINE]`.

Calls the API and the dashboard over HTTP, each with other words each time, over the store of
`busy_store`. Tells the median and the 95th percentile of each, by the processor (of this process,
the caller's part in it, and of the database) and by the clock, which other work slows.
"""

import argparse
import socket
import ssl
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from random import Random as Chance

import httpx
from sqlalchemy import text

from bench import busy_store
from bench.asking import whole
from bench.durable import GoneBy, gone_by
from bench.ending import end_with_cleaning
from bench.figures import Measured
from bench.page_calls import CALLS_OF_DEVICES, OTHERS, Call, device_calls
from tests import stores
from tests.postgres import databases
from tests.reconciler.simulation import ORGANIZATION
from tests.server.visiting import Guest
from towline.reconciler.server import tls
from towline.reconciler.server.doorbell import Doorbell
from towline.reconciler.server.fleets import FleetView
from towline.reconciler.server.service import Service, ServiceSettings
from towline.reconciler.store import people
from towline.reconciler.store.engine import Store, is_postgres
from towline.reconciler.store.people import Role
from towline.schemas.keys import PrivateKey

POLL_S = 300
DEVICES = 1_000_000
CALLS = 40
COUNTED = {"max_parallel_workers_per_gather": "0"}
"""All that a statement takes is counted, and is not hidden by a second processor."""
SETTINGS = {
    "shared_buffers": "1GB",
    "work_mem": "64MB",
    "maintenance_work_mem": "256MB",
    "max_wal_size": "4GB",
    **COUNTED,
}
"""Of the Postgres that is measured."""


@dataclass
class _Reached:
    """As a guest of the dashboard reaches the server."""

    client: httpx.Client
    tokens: dict[str, str]


@dataclass(frozen=True, slots=True)
class Took:
    """Of one kind of call, in milliseconds: the median and the 95th percentile."""

    call: Call
    processor: tuple[float, float]
    clock: tuple[float, float]

    @property
    def words(self) -> str:
        """For people."""
        return (
            f"{self.call.name:40} processor {self.processor[0]:7.1f} {self.processor[1]:7.1f} ms"
            f"   clock {self.clock[0]:7.1f} {self.clock[1]:7.1f} ms"
        )


def main() -> None:
    """Measure each."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.pages", formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("devices", nargs="?", type=whole, default=DEVICES, help="of the fleet")
    parser.add_argument("calls", nargs="?", type=whole, default=CALLS, help="of each kind")
    parser.add_argument("engine", nargs="?", choices=("postgres", "sqlite"), default="postgres",
                        help="of the store")  # fmt: skip
    asked = parser.parse_args()
    end_with_cleaning()
    found = measure(asked.devices, asked.calls, asked.engine, _say)
    for key, value in found.values.items():
        _say(f"{key:20} {value:7.1f} ms")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def measure(
    devices: int, calls: int, engine: str, say: Callable[[str], None] = lambda _: None
) -> Measured:
    """The row: of each kind the slowest call's 95th percentile."""
    wanted = [each for args in CALLS_OF_DEVICES for each in device_calls(*args[:2], **args[2])]
    took = []
    with _place(engine) as gone, tempfile.TemporaryDirectory() as folder:
        store = stores.open_fresh(Path(folder) / "towline.db")
        token = _filled(store, devices)
        with _served(store, Path(folder), token) as client:
            for call in (*wanted, *OTHERS):
                took.append(_measure(client, _Watch(store), call, calls, devices))
                say(took[-1].words)
        store.close()
    values = {
        f"pages-{kind}": max(each.processor[1] for each in took if each.call.kind == kind)
        for kind in ("page", "search", "filter")
    }
    details = [f"{engine}, {devices:,} devices", *(each.words for each in took)]
    if gone is None:
        return Measured(values, details)
    unmet = dict.fromkeys(values, gone.problem) if gone.problem else {}
    return Measured(values, [*details, gone.words], unmet=unmet)


@contextmanager
def _place(engine: str) -> Iterator[GoneBy | None]:
    """Where the stores of the block are; yields what their Postgres goes by."""
    postgres = databases(**SETTINGS) if engine == "postgres" else nullcontext()
    with postgres as found, stores.on(found):
        yield None if found is None else gone_by(found.setting, SETTINGS, COUNTED)


def _filled(store: Store, devices: int) -> str:
    """Fill the store; returns a viewer's token."""
    now = int(time.time())
    with store.write() as connection:
        busy_store.fill(connection, devices, now)
        token = people.create_admin_token(
            connection, ORGANIZATION, name="Ada", role=Role.VIEWER, now=now
        )
    with store.engine.connect() as connection:
        # As both engines do by themselves now and then.
        if is_postgres(connection):
            connection.execution_options(isolation_level="AUTOCOMMIT").execute(
                text("VACUUM ANALYZE")
            )
        else:
            connection.exec_driver_sql("ANALYZE")
    return token


class _Watch:
    """The processor's time of this process and of all processes of its Postgres, if any."""

    def __init__(self, store: Store) -> None:
        self._server: int | None = None
        if is_postgres(store.engine):
            with store.engine.connect() as connection:
                own = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
            # The parent of each.
            self._server = int(Path(f"/proc/{own}/stat").read_text().rpartition(")")[2].split()[1])

    def now_s(self) -> float:
        """Seconds, since some time."""
        busy = time.process_time()
        if self._server is not None:
            children = Path(f"/proc/{self._server}/task/{self._server}/children").read_text()
            busy += sum(map(_nanoseconds, children.split())) / 1e9
        return busy


def _nanoseconds(pid: str) -> int:
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0])
    except OSError:
        return 0  # it ended


def _measure(client: httpx.Client, watch: _Watch, call: Call, calls: int, devices: int) -> Took:
    chance = Chance(1)  # noqa: S311 the same words each time
    clock, processor = [], []
    for _ in range(calls + 1):
        query = call.query(chance, devices)
        began, busy = time.perf_counter(), watch.now_s()
        answer = client.get(call.path, params=query)
        clock.append((time.perf_counter() - began) * 1000)
        processor.append((watch.now_s() - busy) * 1000)
        if answer.status_code != 200:
            raise RuntimeError(f"{call.name}: {answer.status_code} {answer.text[:200]}")
    return Took(call, _middle_and_p95(processor[1:]), _middle_and_p95(clock[1:]))


def _middle_and_p95(times: Sequence[float]) -> tuple[float, float]:
    return statistics.median(times), p95(times)


def p95(times: Sequence[float]) -> float:
    """The nearest rank: 95 % of the times or more are no larger; of fewer than 20 the largest."""
    rank = -(-95 * len(times) // 100)
    return sorted(times)[rank - 1]


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


if __name__ == "__main__":
    main()
