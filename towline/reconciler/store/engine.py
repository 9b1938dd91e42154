"""Opening the store and its transactions.

SQLite is one process and one writer: every write transaction begins IMMEDIATE under one lock, WAL
lets readers go on, and `synchronous=FULL` keeps what was acknowledged through a power cut.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event

from towline.reconciler.store import causes, migrate, remembered
from towline.schemas.problems import Problem

BUSY_TIMEOUT_MS = 5000


class Store:
    """Where the reconciler keeps everything; `read` and `write` begin its transactions."""

    def __init__(self, engine: Engine, *, is_private: bool = False) -> None:
        """`is_private`: to try things on. Nobody else writes to it, and nothing is replayed."""
        self.engine = engine
        self._is_private = is_private
        remembered.watch(engine)
        self._writing = threading.RLock()

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that commits at the end of the block and rolls back on an exception."""
        with self._writing, self.engine.connect() as connection:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            causes.begin(connection, is_recorded=not self._is_private)
            self._look_anew(connection)
            try:
                yield connection
            except BaseException:
                connection.rollback()
                remembered.forget(connection)
                raise
            connection.commit()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A consistent view that never waits for the writer."""
        with self.engine.connect() as connection:
            connection.exec_driver_sql("BEGIN")
            self._look_anew(connection)
            try:
                yield connection
            finally:
                connection.rollback()

    def _look_anew(self, connection: Connection) -> None:
        """Others may have written since."""
        if not self._is_private:
            remembered.forget(connection)

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()


def open_store(path: Path) -> Store:
    """Open the SQLite file at `path`, made and migrated as needed; raises Problem."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Problem(f"the data folder {path.parent} cannot be made: {error.strerror}") from None
    engine = create_engine(f"sqlite:///{path}", connect_args={"check_same_thread": False})
    event.listen(engine, "connect", _prepare_connection)
    migrate.upgrade(engine, path)
    return Store(engine)


def _prepare_connection(connection: Any, _record: Any) -> None:
    # Transactions are begun by hand, as the engine would begin them deferred.
    connection.isolation_level = None
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
        f"busy_timeout={BUSY_TIMEOUT_MS}",
        "cache_size=-65536",
    ):
        connection.execute(f"PRAGMA {pragma}")
