"""A Postgres to be measured, as durable as one in use: tests wait for no disk, a bench does."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from tests.postgres import MISSING, Databases, databases

SETTINGS = {
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "autovacuum": "on",
    "shared_buffers": "1GB",
    "work_mem": "64MB",
    "max_wal_size": "4GB",
}
LEFT_OUT = f"Postgres is left out: {MISSING}"


@contextmanager
def durable() -> Iterator[Databases | None]:
    """None where there is no Postgres on this machine."""
    with ExitStack() as stack:
        try:
            found = stack.enter_context(databases(**SETTINGS))
        except pytest.skip.Exception:
            found = None
        yield found
