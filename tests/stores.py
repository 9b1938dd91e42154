"""The stores that tests open: a SQLite file, or for `both_engines` also a Postgres database.

A test that is marked `both_engines` runs twice; it opens its stores by `open_fresh` or
`open_quickly`, or by `open_store(place_of(path))`, and never looks into the file.
"""

import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from sqlalchemy import event

from tests.postgres import Databases
from towline.reconciler.store.engine import Store, is_postgres, open_store


class Places:
    """On Postgres a path stands for one database, for as long as the test runs."""

    def __init__(self, databases: Databases | None = None) -> None:
        self._databases = databases
        self._known: dict[Path, str] = {}
        self._opened: list[Store] = []

    def of(self, path: Path) -> Path | str:
        """Where the store is that a test keeps at `path`."""
        if self._databases is None:
            return path
        if path not in self._known:
            self._known[path] = self._databases.fresh()
        return self._known[path]

    def copy(self, store: Store, path: Path) -> None:
        """What is kept at `path` is what the store holds now."""
        if self._databases is None:
            with closing(sqlite3.connect(path)) as copied, store.read() as connection:
                connection.connection.driver_connection.backup(copied)  # type: ignore[union-attr]
            return
        store.close()  # nobody may look on; it opens again by itself
        self._known[path] = self._databases.copy(store.engine.url)

    def note(self, store: Store) -> None:
        """The store's connections end with the test."""
        if self._databases is not None:
            self._opened.append(store)

    def leave(self) -> None:
        """The test is over."""
        for store in self._opened:
            store.close()


_here = [Places()]


@contextmanager
def on(databases: Databases | None) -> Iterator[None]:
    """Within the block stores are on Postgres; None: on SQLite."""
    places = Places(databases)
    _here.append(places)
    try:
        yield
    finally:
        _here.pop()
        places.leave()


def place_of(path: Path) -> Path | str:
    """The file, or the database that stands for it."""
    return _here[-1].of(path)


def copy_store(store: Store, path: Path) -> None:
    """Keep at `path` what the store holds now: much sooner than to play it again."""
    _here[-1].copy(store, path)


def open_fresh(path: Path) -> Store:
    """As `open_store`, without going through all migrations for each test.

    They are gone through once in a process; every store after that begins as a copy.
    """
    place = place_of(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(place, Path) and not place.exists():
        place.write_bytes(_migrated())
    store = open_store(place)
    _compile_once(store)
    _here[-1].note(store)
    return store


_compiled: dict[str, Any] = {}
"""A dialect of each engine, with the statements that were compiled for it."""


def _compile_once(store: Store) -> None:
    """Every engine compiles all statements anew, which takes a tenth of the time of many tests."""
    engine = store.engine
    first = _compiled.setdefault(engine.dialect.name, engine)
    engine.dialect, engine._compiled_cache = first.dialect, first._compiled_cache


def prepare() -> None:
    """Go through the migrations now: whoever forks need not do it in each child."""
    _migrated()


@cache
def _migrated() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "towline.db"
        open_store(path).close()
        return path.read_bytes()


def open_quickly(path: Path) -> Store:
    """A store that waits for no disk: what is played here is never read after a power cut."""
    store = open_fresh(path)
    if not is_postgres(store.engine):
        event.listen(store.engine, "connect", _without_fsync)
        store.engine.dispose()
    return store


def _without_fsync(connection: Any, _record: Any) -> None:
    connection.execute("PRAGMA synchronous=OFF")
