"""A store of one's own in memory, to try things on: a copy of a store, or an empty one.

Nothing of it is ever written back. The source may be in use by a server: it is read in one go.
"""

import sqlite3
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine
from sqlalchemy.pool import StaticPool

from towline.reconciler.store import change_triggers, labelled, migrate, postgres, remembered, views
from towline.reconciler.store.database_copy import lay_over
from towline.reconciler.store.engine import Store, is_postgres
from towline.reconciler.store.hints import understood
from towline.reconciler.store.tables import metadata, targets
from towline.schemas.problems import Problem

_PRAGMAS = ("journal_mode=MEMORY", "synchronous=OFF", "temp_store=MEMORY", "foreign_keys=OFF")
"""What is lost with the process needs no care; the rows were checked where they come from."""


def copy_of(place: Path | str) -> Store:
    """A copy of the SQLite store at that path or of the database at that URL; raises Problem.

    It is brought up to date.
    """
    return _copy_of_file(place) if isinstance(place, Path) else _copy_of_database(place)


def _copy_of_file(path: Path) -> Store:
    memory = _memory()
    try:
        source = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
        try:
            source.backup(memory)
        finally:
            source.close()
    except sqlite3.Error as error:
        raise Problem(
            f"{path} cannot be read as a store: {error}",
            remedy="name the towline.db in the data folder of a server",
        ) from None
    store = _store(memory)
    migrate.upgrade(store.engine, None)
    _note_no_changes(memory)
    return store


def _note_no_changes(memory: sqlite3.Connection) -> None:
    """Here all devices are looked at each time: they change by the thousands."""
    for trigger in change_triggers.NAMES:
        memory.execute(f"DROP TRIGGER IF EXISTS {trigger}")


def _copy_of_database(address: str) -> Store:
    engine = postgres.open_engine(address)
    try:
        with engine.connect() as source:
            postgres.begin_reading(source)
            revision = migrate.revision_of(source)
            if revision is None:
                raise Problem(
                    f"{postgres.shown(engine.url)} holds no store",
                    remedy="name the database that a server keeps its store in",
                )
            store = _of_schema(revision)
            with store.engine.connect() as copied:
                memory: Any = copied.connection.driver_connection
                _note_no_changes(memory)
                lay_over(source, memory)
    finally:
        engine.dispose()
    migrate.upgrade(store.engine, None)
    _note_no_changes(memory)
    return store


def _of_schema(revision: str) -> Store:
    """An empty store as the migrations up to `revision` make it."""
    migrate.is_newest(revision, None)
    store = _store(_memory())
    with store.engine.begin() as connection:
        migrate.apply(connection, revision)
    return store


def without_orders(store: Store) -> None:
    """Drop what finds a few targets in order: who only ever asks whole batches writes faster."""
    with store.engine.begin() as connection:
        for index in sorted(targets.indexes, key=lambda each: str(each.name)):
            if "position" in index.columns:
                index.drop(connection, checkfirst=True)


def copy_of_store(store: Store) -> Store:
    """A copy of an open store, as of now."""
    if is_postgres(store.engine):
        return copy_of(postgres.address_of(store.engine))
    path = store.engine.url.database
    assert path is not None
    return copy_of(Path(path))


def overwrite(store: Store, source: Store) -> None:
    """Make a private store equal to another one; what it knows of its statements stays warm."""
    with source.engine.connect() as taken, store.engine.connect() as given:
        original: Any = taken.connection.driver_connection
        original.backup(given.connection.driver_connection)
        remembered.forget(given)
        labelled.forget(store.engine)


def empty_copy() -> Store:
    """An empty store of today's schema."""
    store = _store(_memory())
    with store.engine.begin() as connection:
        metadata.create_all(connection)
        for view in views.SQLITE:
            connection.exec_driver_sql(view)
    return store


def _memory() -> sqlite3.Connection:
    return sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)


def _store(memory: sqlite3.Connection) -> Store:
    for pragma in _PRAGMAS:
        memory.execute(f"PRAGMA {pragma}")

    def give() -> Any:
        return memory

    engine = understood(create_engine("sqlite://", creator=give, poolclass=StaticPool))
    return Store(engine, is_private=True)
