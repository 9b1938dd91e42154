"""A store as its first start leaves it, without going through all migrations for each test.

They are gone through once in a process; every store after that begins as a copy of the file.
"""

import tempfile
from functools import cache
from pathlib import Path

from towline.reconciler.store.engine import Store, open_store


def open_fresh(path: Path) -> Store:
    """As `open_store` for a file that is not there yet."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        path.write_bytes(_migrated())
    return open_store(path)


@cache
def _migrated() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "towline.db"
        open_store(path).close()
        return path.read_bytes()
