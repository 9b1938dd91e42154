"""A store of one's own in memory, to try things on: a copy of a store's file, or an empty one.

Nothing of it is ever written back. The source may be in use by a server: it is read in one go.
"""

import sqlite3
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine
from sqlalchemy.pool import StaticPool

from towline.reconciler.store import migrate, remembered, views
from towline.reconciler.store.engine import Store
from towline.reconciler.store.tables import metadata, targets
from towline.schemas.problems import Problem

_PRAGMAS = ("journal_mode=MEMORY", "synchronous=OFF", "temp_store=MEMORY", "foreign_keys=OFF")
"""What is lost with the process needs no care; the rows were checked where they come from."""


def copy_of(path: Path) -> Store:
    """A copy of the SQLite store at `path`, brought up to date; raises Problem."""
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
    return store


def without_orders(store: Store) -> None:
    """Drop what finds a few targets in order: who only ever asks whole batches writes faster."""
    with store.engine.begin() as connection:
        for index in sorted(targets.indexes, key=lambda each: str(each.name)):
            if "position" in index.columns:
                index.drop(connection, checkfirst=True)


def copy_of_store(store: Store) -> Store:
    """A copy of an open store, as of now."""
    path = store.engine.url.database
    assert path is not None
    return copy_of(Path(path))


def overwrite(store: Store, source: Store) -> None:
    """Make a private store equal to another one; what it knows of its statements stays warm."""
    with source.engine.connect() as taken, store.engine.connect() as given:
        original: Any = taken.connection.driver_connection
        original.backup(given.connection.driver_connection)
        remembered.forget(given)


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

    engine = create_engine("sqlite://", creator=give, poolclass=StaticPool)
    return Store(engine, is_private=True)
