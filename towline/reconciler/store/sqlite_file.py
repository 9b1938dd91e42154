"""A store in a SQLite file: one process and one writer.

WAL lets readers go on while somebody writes, and `synchronous=FULL` keeps what was acknowledged
through a power cut.
"""

from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event

from towline.reconciler.store import owner_only
from towline.reconciler.store.hints import understood
from towline.schemas.problems import Problem

BUSY_TIMEOUT_MS = 5000
LOG_PAGES = 16_000
"""The log, 64 MB by then, is written back into the file once it is so long: of a large fleet each
flush of reports fills hundreds of pages, and all others wait while they are written back."""


def open_engine(path: Path) -> Engine:
    """Connections to the file at `path`, made when it is missing; raises Problem."""
    try:
        owner_only.make_folder(path.parent)
    except OSError as error:
        raise Problem(f"the data folder {path.parent} cannot be made: {error.strerror}") from None
    owner_only.make_file(path)
    engine = understood(
        create_engine(f"sqlite:///{path}", connect_args={"check_same_thread": False})
    )
    event.listen(engine, "connect", _prepare_connection)
    return engine


def _prepare_connection(connection: Any, _record: Any) -> None:
    # Transactions are begun by hand, as the engine would begin them deferred.
    connection.isolation_level = None
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
        f"busy_timeout={BUSY_TIMEOUT_MS}",
        "cache_size=-65536",
        "temp_store=MEMORY",
        f"wal_autocheckpoint={LOG_PAGES}",
    ):
        connection.execute(f"PRAGMA {pragma}")
