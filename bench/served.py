"""Towline's server as the rows load it: `python -m bench.served FOLDER [URL] [--alone]`.

Over plain HTTP, as the twins are, with the store in the folder or in the Postgres database at the
URL. `--alone`: each report in a transaction of its own. No pass of a
reconciler runs. Commands: `statements` (of the database, since the last time, but those that the
writing thread made), `change` (all devices' documents), `parked` (how many polls wait).
"""

import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import uvicorn
from sqlalchemy import event, select, update

from bench.processes import commands
from bench.session import ORGANIZATION
from towline.reconciler.server import inlet, process, tls
from towline.reconciler.server.doorbell import Doorbell
from towline.reconciler.server.fleets import FleetView
from towline.reconciler.server.service import BACKLOG, Service, ServiceSettings
from towline.reconciler.store import tables as t
from towline.reconciler.store.engine import Store, open_store
from towline.schemas.keys import PrivateKey

POLL_S = 300


class PlainService(Service):
    """Without TLS."""

    def _config(self) -> uvicorn.Config:
        config = super()._config()
        config.ssl_certfile = config.ssl_keyfile = None
        return config


class _Statements:
    """Counts what is asked of the database."""

    def __init__(self, store: Store) -> None:
        self._count = 0
        event.listen(store.engine, "before_cursor_execute", self._add)

    def _add(self, *_: object) -> None:
        if threading.current_thread().name != "inlet":
            self._count += 1

    def take(self) -> int:
        """How many since the last time."""
        found, self._count = self._count, 0
        return found


def main() -> None:
    """Serve until no command will come."""
    if "--alone" in sys.argv:
        inlet.LETTERS_PER_FLUSH = 1
    process.set_up()
    folder, *url = (each for each in sys.argv[1:] if each != "--alone")
    store, doorbell = open_store(url[0] if url else Path(folder) / "towline.db"), Doorbell()
    key = PrivateKey.generate()
    service = PlainService(
        store,
        ServiceSettings(
            POLL_S, Path(folder), tls.ensure(Path(folder), []), True, None, is_clock_accepted=True
        ),
        doorbell,
        FleetView(ORGANIZATION, lambda: key, lambda: (b"{}",), dict, wake=lambda: None),
    )
    statements = _Statements(store)
    listener = socket.create_server(("127.0.0.1", 0), backlog=BACKLOG)
    thread = threading.Thread(target=service.run, args=(listener,))
    thread.start()
    known: dict[str, Callable[[], object]] = {
        "statements": statements.take,
        "change": lambda: _change(store, doorbell),
        "parked": lambda: doorbell.parked,
    }
    commands(listener.getsockname()[1], known)
    service.end()
    thread.join()
    store.close()


def _change(store: Store, doorbell: Doorbell) -> int:
    """Another attempt for every device, as a pass would grant it; how many."""
    with store.write() as connection:
        connection.execute(update(t.targets).values(attempt=t.targets.c.attempt + 1))
        devices = set(connection.execute(select(t.targets.c.device_seq)).scalars())
    doorbell.ring(devices)
    return len(devices)


if __name__ == "__main__":
    main()
