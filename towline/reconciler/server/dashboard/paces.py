"""How runs go over time, kept for a moment: many viewers of a large run ask the store once."""

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row

from towline.reconciler.store.reading_pace import Moment, pace

FRESH_S = 15
MOST = 256
SPANS = 60


@dataclass(frozen=True, slots=True)
class _Kept:
    at: int
    end: int | None
    moments: tuple[Moment, ...]


class Paces:
    """Of all runs of this process; safe to use from any thread."""

    def __init__(self) -> None:
        self._kept: OrderedDict[int, _Kept] = OrderedDict()
        self._changing = threading.Lock()

    def of_run(self, connection: Connection, run: Row[Any], now: int) -> tuple[Moment, ...]:
        """At most FRESH_S old, except that an end is seen at once; empty before the run began."""
        if run.started_at is None:
            return ()
        kept = self._kept.get(run.seq)
        if kept and kept.end == run.completed_at and 0 <= now - kept.at < FRESH_S:
            return kept.moments
        end = max(run.started_at + 1, run.completed_at or now)
        moments = pace(connection, run.seq, run.started_at, end, SPANS)
        with self._changing:
            self._kept[run.seq] = _Kept(now, run.completed_at, moments)
            self._kept.move_to_end(run.seq)
            while len(self._kept) > MOST:
                self._kept.popitem(last=False)
        return moments
