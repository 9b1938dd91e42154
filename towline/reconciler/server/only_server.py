"""One server for each store: a second one is refused, and told who is there.

A data folder is held by a lock on its file `lock`, which holds the holder's pid; a database by a
lock of the session, which ends with it. Both are free again as soon as the holder is gone, however
it went.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from towline.reconciler.store import postgres
from towline.reconciler.store.engine import Store, is_postgres
from towline.schemas.problems import Problem


@contextmanager
def only_on_folder(data: Path) -> Iterator[None]:
    """Hold the data folder's lock; raises Problem when another process has it."""
    with (data / "lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            pid = lock.read().strip()
            raise Problem(
                f"another server uses the data folder {data}" + (f": pid {pid}" if pid else ""),
                remedy="stop it, or give this one its own folder with --data",
            ) from None
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield


@contextmanager
def only_on_store(store: Store) -> Iterator[None]:
    """Hold the lock of a store on Postgres; raises Problem when another server has it."""
    if not is_postgres(store.engine):
        yield
        return
    with store.engine.connect() as connection:
        if not postgres.take_service(connection):
            holder = postgres.who_serves(connection)
            raise Problem(
                f"another server uses the database {postgres.shown(store.engine.url)}"
                + (f": {holder}" if holder else ""),
                remedy="stop it, or give this one a database of its own",
            )
        try:
            yield
        finally:
            # A lock of the session would outlive this use of the connection.
            connection.invalidate()
