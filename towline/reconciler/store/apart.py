"""Migrating in a process of its own: the memory that it takes to load Alembic goes with it."""

import threading
from contextlib import suppress
from multiprocessing import get_context
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from towline.reconciler.store import migrate
from towline.reconciler.store.engine import Store, engine_of, open_store
from towline.schemas.problems import Problem


def open_migrated(where: Path | str) -> Store:
    """As `open_store`, with what is to be migrated done before in another process.

    Not where other threads run: whatever they hold would be held in that process for ever.
    """
    if threading.active_count() == 1 and _is_to_be_migrated(where):
        process = get_context("fork").Process(target=_migrate, args=(where,))
        process.start()
        process.join()
    return open_store(where)  # raises what failed there


def _is_to_be_migrated(where: Path | str) -> bool:
    engine = engine_of(where)
    try:
        with engine.connect() as connection:
            revision = migrate.revision_of(connection)
        return not migrate.is_newest(revision, where if isinstance(where, Path) else None)
    except (SQLAlchemyError, Problem):
        return False
    finally:
        engine.dispose()  # no connection may be in both processes


def _migrate(where: Path | str) -> None:
    with suppress(Exception, KeyboardInterrupt):
        open_store(where).close()
