"""Devices that all succeed, at once: who is in a batch is asked, not how they fare.

Whoever was seen lately stays in touch for the whole rehearsal; whoever was not still gets a
verdict when the last batch takes it, so that every member of a batch is counted where it belongs.
"""

from collections.abc import Collection
from typing import Any

from sqlalchemy import Connection, Row, update

from towline.reconciler.store import outcomes
from towline.reconciler.store import tables as t

FAR = 1 << 40
"""Seconds since the epoch that no clock reaches."""


class Obedient:
    """Every member of an open batch is granted, completes and is verified in the same second."""

    def begin(self, connection: Connection, now: int, seen_after: int) -> None:
        """Keep in touch whoever is."""
        connection.execute(
            update(t.device_state)
            .where(t.device_state.c.last_seen >= seen_after)
            .values(last_seen=FAR)
        )

    def ring(self, devices: Collection[int], now: int) -> None:
        """They look at each step anyway."""

    def answer(self, connection: Connection, run: Row[Any], *, is_held: bool, now: int) -> bool:
        """Complete what may be installed."""
        return outcomes.complete(connection, run.seq, only_granted=is_held, now=now) > 0

    def next_time(self) -> int | None:
        """Nothing is left to do."""
        return None
