"""Opening the store and its transactions, over a SQLite file or a Postgres database.

On both engines writers take turns and readers never wait: what a write transaction read at its
beginning still holds at its end. Within a process the turn is a lock of threads; between processes
it is the engine's (`sqlite_file`, `postgres`). Transactions are begun by hand.
"""

import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import structlog
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DatabaseError, InterfaceError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from towline.reconciler.store import (
    causes,
    labelled,
    migrate,
    outbox,
    owner_only,
    postgres,
    remembered,
    sqlite_file,
)
from towline.reconciler.store.outbox import Told
from towline.reconciler.store.trouble import trouble
from towline.schemas.problems import Problem

AWAY = (OperationalError, InterfaceError, InternalError, PoolTimeoutError)
"""What a transaction raises while the store cannot be used: a database that is away, a locked file,
a full disk, a Postgres that lets nobody write. Nothing of the transaction is kept, and it may go
well later."""

log = structlog.get_logger()


class Store:
    """Where the reconciler keeps everything; `read` and `write` begin its transactions."""

    def __init__(self, engine: Engine, *, is_private: bool = False) -> None:
        """`is_private`: to try things on. Nobody else writes to it, and nothing is replayed."""
        self.engine = engine
        self._is_private = is_private
        remembered.watch(engine)
        self._writing = threading.RLock()
        self.sender = secrets.token_hex(8)
        """By which others tell what was written here from what they wrote."""
        self._listeners: list[Callable[[Told], None]] = []

    def hear(self, listener: Callable[[Told], None]) -> None:
        """Let it be told what each transaction of this process tells, after its commit."""
        self._listeners.append(listener)

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that commits at the end of the block and rolls back on an exception."""
        told = Told()
        try:
            with self._writing, self.engine.connect() as connection:
                self._begin_writing(connection)
                try:
                    yield connection
                    posted = outbox.post(connection, self.sender)
                    # A file that cannot be written to keeps no session; the former goes on.
                    told = posted if is_postgres(connection) else replace(posted, sessions={})
                    connection.commit()
                    told = posted
                except BaseException:
                    connection.rollback()
                    remembered.forget(connection)
                    labelled.forget(self.engine)
                    raise
        finally:
            # Where the connection ended with the commit nobody knows whether it stands: who hears
            # of it only looks once more, and others tell this process nothing of its own.
            if told:
                self._tell(told)

    def is_free(self) -> bool:
        """Whether no other thread of this process writes now; one may begin to at any time."""
        is_free = self._writing.acquire(blocking=False)
        if is_free:
            self._writing.release()
        return is_free

    def _begin_writing(self, connection: Connection) -> None:
        if is_postgres(connection):
            postgres.begin_writing(connection)
        else:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        causes.begin(connection, is_recorded=not self._is_private)
        outbox.begin(connection)
        self._look_anew(connection)

    def _tell(self, told: Told) -> None:
        """What is committed stands, whoever fails to hear of it."""
        for listener in self._listeners:
            try:
                listener(told)
            except Exception:
                log.exception("listener.failed")

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A consistent view that never waits for the writer."""
        with self.engine.connect() as connection:
            if is_postgres(connection):
                postgres.begin_reading(connection)
            else:
                connection.exec_driver_sql("BEGIN")
            self._look_anew(connection)
            try:
                yield connection
                if is_postgres(connection):
                    connection.commit()  # with a rollback all would go that is prepared
            finally:
                connection.rollback()

    def _look_anew(self, connection: Connection) -> None:
        """Others may have written since."""
        if not self._is_private:
            remembered.forget(connection)

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()


def is_postgres(of: Engine | Connection) -> bool:
    """Whether the store is a Postgres database; else it is SQLite's."""
    return of.dialect.name == "postgresql"


@contextmanager
def usable(engine: Engine) -> Iterator[None]:
    """Raises Problem where the store cannot be used within the block: for those who begin."""
    try:
        yield
    except AWAY as error:
        raise trouble(engine, error) from error
    except DatabaseError as error:
        if type(error) is not DatabaseError:
            raise
        raise trouble(engine, error) from error  # the file is none of SQLite's, or is broken


def engine_of(where: Path | str) -> Engine:
    """To connect to a SQLite file by its path, or to a Postgres database by its URL."""
    return postgres.open_engine(where) if isinstance(where, str) else sqlite_file.open_engine(where)


def open_store(where: Path | str) -> Store:
    """The store in the file or the database `where`, made and migrated as needed; raises Problem.

    A path is of a SQLite file, a text is a URL of a Postgres database.
    """
    if isinstance(where, Path):
        owner_only.tighten(where)
    engine = engine_of(where)
    with usable(engine):
        migrate.upgrade(engine, where if isinstance(where, Path) else None)
    return Store(engine)


def open_existing(place: Path | str) -> Store:
    """As `open_store`, of a store that is in use: it is left as it is; raises Problem.

    Its schema must be today's.
    """
    engine = engine_of(place)
    with usable(engine), engine.connect() as connection:
        revision = migrate.revision_of(connection)
    if not migrate.is_newest(revision, place if isinstance(place, Path) else None):
        raise Problem(
            f"the store has schema {revision or 'none'}, and this Towline's is a newer one",
            remedy="start the server of this version once, which migrates it",
        )
    return Store(engine)
