"""Connections to Postgres that give up on a database which has fallen silent.

TCP itself notices that nothing arrives (`postgres.ALIVE`), but not where something on the way, as
a proxy, takes what is sent and passes nothing on. Some statements take long for good reason, so no
limit to their time tells one from the other: whoever got no byte for a while asks the database, on
a new connection, whether it is still at work for him. While it says so he waits on.
"""

import time
from collections.abc import Generator, Sequence
from contextlib import closing
from typing import Any
from weakref import WeakKeyDictionary

import psycopg
from psycopg.errors import ConnectionTimeout
from sqlalchemy import Dialect, Engine, event

SILENT_S = 5.0
"""Without a byte of the answer for so long the database is asked, and each time after as long."""
ARRIVES_S = 1.0
"""An answer that was on its way while that was asked is here by then."""
ENDING_S = 3.0
"""Nobody asks and waits on while the process ends."""
REST_S = 1.0
"""Where nobody opened the door it is not knocked at again so soon: else all who wait for their turn
to write would wait at it one after the other."""
_SILENCE = "the database has fallen silent"
# Idle, or waiting for its client, which waits for it: what was asked or answered got lost.
_AT_WORK = (
    "SELECT 1 FROM pg_stat_activity WHERE pid = %s"
    " AND state = 'active' AND wait_event_type IS DISTINCT FROM 'Client'"
)


class Silent(psycopg.OperationalError):
    """No answer came, and none will: the connection is closed."""


class Patience:
    """Makes the connections of one engine, and knows how long they wait; used by all threads."""

    def __init__(self) -> None:
        self.is_ending = False
        self._how: tuple[Sequence[Any], dict[str, Any]] = (), {}
        self._away_until = 0.0

    def connect(
        self, _dialect: Dialect, _record: Any, given: Sequence[Any], named: dict[str, Any]
    ) -> "PatientConnection":
        """As SQLAlchemy asks for it."""
        self._how = given, named
        return self._open()

    def _open(self) -> "PatientConnection":
        if time.monotonic() < self._away_until:
            raise ConnectionTimeout(_SILENCE)
        given, named = self._how
        hasty = {"connect_timeout": "2"} if self.is_ending else {}
        try:
            opened = PatientConnection.connect(*given, **named | hasty)
        except ConnectionTimeout:
            self._away_until = time.monotonic() + REST_S
            raise
        opened.patience = self
        return opened

    def is_at_work(self, backend: int) -> bool:
        """Whether the database says so of that backend, or cannot be asked and is not silent."""
        try:
            with closing(self._open()) as asking:
                asking.patience, asking.autocommit = _NONE, True
                return asking.execute(_AT_WORK, (backend,)).fetchone() is not None
        except (ConnectionTimeout, Silent):
            return False
        except psycopg.Error:
            return True  # It answers, if only by a refusal.


_NONE = Patience()
_NONE.is_ending = True


_OF: WeakKeyDictionary[Engine, Patience] = WeakKeyDictionary()


def watch(engine: Engine) -> None:
    """Let the engine's connections be such."""
    _OF[engine] = patience = Patience()
    event.listen(engine, "do_connect", patience.connect)


def hurry(engine: Engine) -> None:
    """The process ends: a statement without an answer is soon given up, whatever it is for."""
    if (patience := _OF.get(engine)) is not None:
        patience.is_ending = True


class PatientConnection(psycopg.Connection[Any]):
    """Raises Silent where no answer comes."""

    patience = _NONE
    backend = 0
    """Its number at the database, which a proxy in between may not tell."""

    def wait(self, gen: Generator[Any, Any, Any], *given: Any, **named: Any) -> Any:
        """As psycopg's; everything that waits for the network goes this way."""
        return super().wait(self._watched(gen), *given, **named)

    def _watched(self, waiting: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
        try:
            wanted = next(waiting)
            heard_at, is_doubted = time.monotonic(), False
            look_at = heard_at + SILENT_S
            while True:
                # Ten times a second it is told that nothing came.
                if ready := (yield wanted):
                    heard_at, is_doubted = time.monotonic(), False
                    look_at = heard_at + SILENT_S
                elif self._is_asked() and self._is_over(heard_at, look_at):
                    if is_doubted or self.patience.is_ending:
                        self.pgconn.finish()
                        raise Silent(_SILENCE)
                    is_doubted = not self.patience.is_at_work(self.backend)
                    look_at = time.monotonic() + (ARRIVES_S if is_doubted else SILENT_S)
                wanted = waiting.send(ready)
        except StopIteration as end:
            return end.value

    def _is_asked(self) -> bool:
        """Else it only listens for what others notify."""
        return self.pgconn.transaction_status == psycopg.pq.TransactionStatus.ACTIVE

    def _is_over(self, heard_at: float, look_at: float) -> bool:
        until = heard_at + ENDING_S if self.patience.is_ending else look_at
        return time.monotonic() >= until
