"""How much of the processors a piece of work takes: of this process and of its database's."""

import time
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import text

from towline.reconciler.store.engine import Store, is_postgres


class Stopwatch:
    """Times work over one store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def timed(self, work: Callable[[], object]) -> float:
        """Milliseconds of the processors that the work took."""
        began = self._now()
        work()
        return (self._now() - began) * 1000

    def _now(self) -> float:
        own = time.process_time()
        return own + (self._of_backends() if is_postgres(self._store.engine) else 0)

    def _of_backends(self) -> float:
        """Those that serve this process' connections, which are kept open."""
        with self._store.engine.connect() as connection:
            pids = connection.execute(
                text(
                    "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
                    " AND backend_type = 'client backend'"
                )
            )
            return sum(_nanoseconds(pid) for pid in pids.scalars().all()) / 1e9


def _nanoseconds(pid: int) -> int:
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0])
