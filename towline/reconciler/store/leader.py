"""Who leads: of all processes on one store, the only one that decides and writes what it decided.

The seat is a lock of a session of its own, which is free as soon as that session ends, however it
ends. The fence is the epoch, one row that each election raises: whoever was deposed and does not
know it yet finds another number there, and writes nothing. A SQLite file has one process, for which
the lock on its data folder is the seat; the fence is the same.
"""

from contextlib import suppress
from dataclasses import dataclass

from sqlalchemy import Connection, func, insert, select, update
from sqlalchemy.exc import SQLAlchemyError

from towline.reconciler.store import postgres
from towline.reconciler.store.engine import Store, is_postgres
from towline.reconciler.store.tables import leader_epoch

_ONE = select(func.pg_backend_pid())
_EPOCH = select(leader_epoch.c.epoch)


@dataclass(frozen=True, slots=True)
class Term:
    """The newest election."""

    epoch: int
    holder: str
    """The process that won it."""
    since: int


class Seat:
    """Held by this process until `leave`, or until the database ends its session."""

    def __init__(self, connection: Connection | None) -> None:
        """None: there is no lock, because nobody else can be there."""
        self._connection = connection

    def is_held(self) -> bool:
        """False once the session has ended; another process may have the seat then."""
        if self._connection is None:
            return True
        try:
            self._connection.execute(_ONE)
        except SQLAlchemyError:
            return False
        return True

    def leave(self) -> None:
        """Let another process have it."""
        if self._connection is None:
            return
        # The database may end a session well after it was closed here: who is next need not wait.
        # Where it has ended already, so has its lock.
        with suppress(SQLAlchemyError):
            postgres.leave_seat(self._connection)
        # It belongs to no pool: the session ends.
        with suppress(SQLAlchemyError):
            self._connection.close()


def take_seat(store: Store) -> Seat | None:
    """The seat; None while another process has it."""
    if not is_postgres(store.engine):
        return Seat(None)
    connection = store.engine.connect()
    try:
        connection.detach()
        if postgres.take_seat(connection):
            return Seat(connection)
    except BaseException:
        connection.close()
        raise
    connection.close()
    return None


def elect(connection: Connection, holder: str, now: int) -> int:
    """Begin the next term, in a write transaction of its own; returns its epoch."""
    former = connection.execute(_EPOCH).scalar_one_or_none()
    epoch: int = (former or 0) + 1
    statement = update(leader_epoch) if former is not None else insert(leader_epoch)
    connection.execute(statement.values(epoch=epoch, holder=holder, since=now))
    return epoch


def term(connection: Connection) -> Term | None:
    """The newest term; None before the first election."""
    columns = leader_epoch.c
    row = connection.execute(select(columns.epoch, columns.holder, columns.since)).first()
    return Term(*row) if row is not None else None


def is_in_force(connection: Connection, epoch: int) -> bool:
    """Whether nobody was elected since: true to the end of a write transaction.

    Elections are write transactions, too, and those take turns: no lock of the row is needed.
    """
    return connection.execute(_EPOCH).scalar_one_or_none() == epoch
