"""A store on Postgres: its address, its connections, and the locks that its users share.

Writers take turns, whichever process they are in: a write transaction begins with one advisory
lock and holds it to its end. So each sees all that was committed before it and nothing changes
under it, as on SQLite, and events become visible in the order of their ids. It is READ COMMITTED,
because a snapshot taken while it waits for its turn would be an old one.
"""

import os
import socket
from contextlib import suppress
from functools import partial
from importlib.util import find_spec
from select import POLLIN, poll
from typing import Any

from sqlalchemy import (
    URL,
    Connection,
    Dialect,
    Engine,
    create_engine,
    event,
    func,
    make_url,
    select,
    text,
)
from sqlalchemy.exc import InvalidatePoolError, OperationalError

from towline.reconciler.store import hints
from towline.reconciler.store.address import checked_url
from towline.schemas.problems import Problem

WRITERS, LEADER = 7_301_001, 7_301_002
"""Keys of advisory locks: whose turn it is to write, and who leads."""
CONNECTIONS = 20
"""At most so many of one process."""
PREPARED_AFTER, PREPARED_MOST = 5, 300
"""A statement that writers repeat is prepared after so many times, and so many are kept so."""
_FIRST = "BEGIN ISOLATION LEVEL READ COMMITTED"
_WITHOUT_LIMITS = "SET LOCAL lock_timeout = 0; SET LOCAL statement_timeout = 0"
_TURN = f"SELECT pg_advisory_xact_lock({WRITERS})"
# Each is one way to the database and back.
_BEGIN, _BEGIN_PATIENTLY = "; ".join((_FIRST, _TURN)), "; ".join((_FIRST, _WITHOUT_LIMITS, _TURN))

_SETTINGS = {
    # What is looked at lies in memory or on flash; the default makes the planner scan whole tables.
    "random_page_cost": "1.1",
    # Compiling costs more than these short statements take.
    "jit": "off",
    "timezone": "UTC",
    "statement_timeout": "120s",
    # For a turn to write, too: who holds one for longer is stuck, and is ended by the next line.
    "lock_timeout": "90s",
    # Of who is frozen in the middle of a write. One that is dead is noticed earlier, as follows.
    "idle_in_transaction_session_timeout": "60s",
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "2",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "10s",
}
_NOTICE, _NOTICES_FROM = "SET client_connection_check_interval = '1s'", 140_000
"""By this a statement that runs ends once whoever wanted it is gone, and with it the turn to write
that it would keep from everybody; and the version of Postgres that first has it."""
OWN_NAME = f"towline pid {os.getpid()} on {socket.gethostname()}"[:63]
"""Names this process to whoever finds its locks."""
ALIVE = {
    "connect_timeout": "5",
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "3",
    # In milliseconds. A probe is sent only while nothing waits to be acknowledged: what was sent
    # into nothing would be sent again for a quarter of an hour, each time later.
    "tcp_user_timeout": "10000",
    "application_name": OWN_NAME,
}
"""A database that is gone is noticed within 11 seconds; what the URL says wins. The settings of TCP
in `_SETTINGS` are the same from the other side: by them the database notices who is gone."""
_GONE = {
    "tcp_keepalives_idle": "2",
    "tcp_keepalives_interval": "1",
    "tcp_keepalives_count": "2",
    "tcp_user_timeout": "4s",
}
"""By these it notices that the leader's whole machine is gone: others wait for its seat."""


def shown(url: URL) -> str:
    """A database as people may read it."""
    return url.set(drivername="postgresql", query={}).render_as_string(hide_password=True)


def address_of(engine: Engine) -> str:
    """The URL that opens the same database again, with its password."""
    url = engine.url.set(drivername="postgresql")
    return url.render_as_string(hide_password=False)


def open_engine(address: str) -> Engine:
    """Connections to the database at the URL `address`; raises Problem when it is no good.

    A connection is looked at before each use, so that a restart of the database is no error.
    """
    url = make_url(checked_url(address))
    if find_spec("psycopg") is None:
        raise Problem(
            "a store on Postgres needs psycopg, which is not installed",
            remedy="pip install 'towline[server,postgres]'",
        )
    engine = create_engine(
        url.set(drivername="postgresql+psycopg", query={**ALIVE, **url.query}),
        pool_size=CONNECTIONS // 2,
        max_overflow=CONNECTIONS - CONNECTIONS // 2,
        # The last one given back comes first: what it has prepared is of use again.
        pool_use_lifo=True,
        # Transactions are begun by hand.
        isolation_level="AUTOCOMMIT",
    )
    from towline.reconciler.store import patience  # noqa: PLC0415 not everybody has psycopg

    patience.watch(engine)
    event.listen(engine, "connect", partial(_prepare_connection, engine.dialect))
    event.listen(engine, "do_execute", hints.execute)
    event.listen(engine, "checkout", partial(_look_at, engine.dialect))
    try:
        engine.connect().close()
    except OperationalError as error:
        raise Problem(
            f"the database {shown(url)} cannot be used: {str(error.orig).strip()}",
            remedy="start it, or mend the URL of the store",
        ) from None
    return engine


def begin_writing(connection: Connection, *, is_patient: bool = False) -> None:
    """Begin a transaction once nobody else writes; the turn is held until it ends.

    `is_patient`: however long that takes, and each of its statements.
    """
    connection.exec_driver_sql(_BEGIN_PATIENTLY if is_patient else _BEGIN)
    _prepare_after(connection, PREPARED_AFTER)


def begin_reading(connection: Connection) -> None:
    """Begin a transaction that sees one moment and writes nothing."""
    _prepare_after(connection, None)
    connection.exec_driver_sql("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY")


def _prepare_after(connection: Connection, times: int | None) -> None:
    """From which time on a statement is prepared; None: not at all.

    Passes and reports ask the same things again and again. What people ask is as varied as what
    they look for: one plan for all of that would be a bad one for some.
    """
    driver: Any = connection.connection.driver_connection
    driver.prepare_threshold = times


def take_seat(connection: Connection) -> bool:
    """Whether this session now leads; it does so until it ends, on whichever side."""
    for name, value in _GONE.items():
        connection.execute(select(func.set_config(name, value, False)))
    asked = select(func.pg_try_advisory_lock(LEADER))
    return bool(connection.execute(asked).scalar_one())


def leave_seat(connection: Connection) -> None:
    """Let another session lead, from now on: `connection` is the one that took the seat."""
    connection.execute(select(func.pg_advisory_unlock(LEADER)))


def who_leads(connection: Connection) -> str | None:
    """What the session that leads is called."""
    statement = text(
        "SELECT a.application_name FROM pg_locks l JOIN pg_stat_activity a USING (pid)"
        " WHERE l.locktype = 'advisory' AND l.granted AND l.objid = :key AND l.objsubid = 1"
        " AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )
    name: str | None = connection.execute(statement, {"key": LEADER}).scalar_one_or_none()
    return name


def _prepare_connection(dialect: Dialect, connection: Any, _record: Any) -> None:
    was, connection.autocommit = connection.autocommit, True
    # All in one way to the database and back.
    each = "set_config(%s, %s, false)"
    asked = ", ".join(["SELECT pg_backend_pid()", *[each] * len(_SETTINGS)])
    values = [part for setting in _SETTINGS.items() for part in setting]
    connection.backend = connection.execute(asked, values).fetchone()[0]
    _notice_who_is_gone(dialect, connection)
    connection.autocommit = was
    connection.prepared_max = PREPARED_MOST


def _notice_who_is_gone(dialect: Dialect, connection: Any) -> None:
    """Not every system of the database's machine can: there it is refused, and all is as before."""
    if connection.info.server_version >= _NOTICES_FROM:
        with suppress(dialect.loaded_dbapi.Error):
            connection.execute(_NOTICE)


def _look_at(dialect: Dialect, connection: Any, _record: Any, _proxy: Any) -> None:
    """Let another be opened in place of a connection that has ended.

    A database that ends says so to all: one to which nothing was said is alive. To ask each time
    would be one more way to the database and back for each transaction.
    """
    try:
        if connection.closed or _has_come(connection.fileno()):
            dialect.do_ping(connection)
    except dialect.loaded_dbapi.Error as error:
        raise InvalidatePoolError from error


def _has_come(number: int) -> bool:
    """Whether there is something to be read on the socket of that number."""
    look = poll()
    look.register(number, POLLIN)
    return bool(look.poll(0))
