"""Reading what other processes told: a session of its own that listens, and rows by their number.

A notification only says that there is something to read. It may be missed, and so may the session
be lost: whoever reads by number every second all the same has missed nothing.
"""

import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from sqlalchemy import Connection, and_, case, literal, select
from sqlalchemy import text as plain_text

from towline.reconciler.store import outbox
from towline.reconciler.store.engine import AWAY, Store
from towline.reconciler.store.outbox import Told
from towline.reconciler.store.tables import change_outbox, dirty_deployments

_ROWS_AT_ONCE = 1000


class SessionLost(Exception):
    """The database has ended it, or is away."""


class Subscription:
    """One session; belongs to the thread that waits in it."""

    def __init__(self, store: Store, last: int) -> None:
        """`last`: the number of the row that was read last."""
        self.last = last
        self._sender = store.sender
        self._connection: Connection = store.engine.connect()
        try:
            self._driver: Any = self._connection.connection.driver_connection
            # It belongs to no pool: nobody else may hear what it listens to.
            self._connection.detach()
            self._connection.execute(plain_text(f"LISTEN {outbox.CHANNEL}"))
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End the session, if it has not ended."""
        with suppress(*AWAY):
            self._connection.close()

    def wait(self, seconds: float) -> set[str]:
        """Sleep until another process notifies, and at most so long; what others said meanwhile.

        Raises SessionLost.
        """
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            try:
                notices = list(self._driver.notifies(timeout=left, stop_after=1))
            except self._connection.dialect.loaded_dbapi.Error as error:
                raise SessionLost(str(error)) from error
            said = [notice.payload.split(" ") for notice in notices]
            if words := {word for sender, *told in said if sender != self._sender for word in told}:
                return words
        return set()

    def read(self) -> Told | None:
        """What others told since the last call; None where some of it was let go before that."""
        columns = change_outbox.c
        whole, is_whole = Told(), True
        while True:
            is_news = and_(columns.id > self.last, columns.sender != self._sender)
            rows = self._connection.execute(
                select(columns.id, columns.kind, case((is_news, columns.payload)).label("news"))
                .where(columns.id >= self.last)
                .order_by(columns.id)
                .limit(_ROWS_AT_ONCE)
            ).all()
            # The newest row always stays: where the one that was read last is gone, or the very
            # first one, so may be others behind it. One statement looks at both.
            is_whole = is_whole and (rows[0].id == (self.last or 1) if rows else not self.last)
            for row in rows:
                if row.news is not None:
                    outbox.add_row(whole, row.kind, row.news)
            self.last = rows[-1].id if rows else 0
            if len(rows) < _ROWS_AT_ONCE:
                return whole if is_whole else None

    def is_work_left(self, organizations: Iterable[str]) -> bool:
        """Whether Deployments of these wait for a pass, told or not."""
        wanted = dirty_deployments.c.organization.in_(list(organizations))
        found = self._connection.execute(select(literal(1)).where(wanted).limit(1))
        return found.first() is not None
