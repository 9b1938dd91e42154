"""What a transaction tells the rest of this process and all others, once it is committed.

Whoever changes a device's document says so to the transaction, as does whoever leaves work for a
pass, opens or ends a session, or moves git. On Postgres it is a row of `change_outbox` in the same
transaction, and a notification that wakes who listens; what counts is the row. Writers take turns
to the end of their transactions, so rows become visible in the order of their numbers: who has read
up to one has missed none below it. In the process itself, and on SQLite alone, it is told to the
store's listeners after the commit.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, bindparam, delete, func, insert, select

from towline.reconciler.store.tables import change_outbox

CHANNEL = "towline"
ROWS, WORK = "rows", "work"
"""What a notification says beside its sender: there is something to read, a pass is wanted."""
KEPT_S = 600
"""Whoever has not read for so long begins anew, with everything."""
DEVICES_PER_ROW = 10_000
_KEY = "towline.told"
_CLOCK = func.extract("epoch", func.statement_timestamp()).cast(change_outbox.c.at.type)


@dataclass(slots=True)
class Told:
    """What one transaction tells, or several that were read together."""

    devices: set[int] = field(default_factory=set)
    """Their documents may have changed."""
    everyone: set[str] = field(default_factory=set)
    """Organizations in which every document may have."""
    sessions: dict[int, str] = field(default_factory=dict)
    """Device -> the digest of its one live session; empty when it has none."""
    repositories: set[str] = field(default_factory=set)
    """Organizations whose branch moved, or of which another commit is in force."""
    is_work: bool = False
    """A pass may find something to do."""

    def __bool__(self) -> bool:
        """Whether anything is told at all."""
        return self.is_work or any((self.devices, self.everyone, self.sessions, self.repositories))


def begin(connection: Connection) -> None:
    """A transaction begins: nothing is told yet."""
    connection.info[_KEY] = Told()


def told(connection: Connection) -> Told:
    """What the transaction tells so far."""
    found: Told = connection.info.setdefault(_KEY, Told())
    return found


def ring(connection: Connection, devices: Iterable[int]) -> None:
    """The documents of these devices change with this transaction."""
    told(connection).devices.update(devices)


def ring_everyone(connection: Connection, organization: str) -> None:
    """Every document of the organization may change with it."""
    told(connection).everyone.add(organization)


def wake(connection: Connection) -> None:
    """It leaves something to do for a pass."""
    told(connection).is_work = True


def tell_session(connection: Connection, device: int, digest: str) -> None:
    """From now on the device has this session, and no other; empty: none."""
    told(connection).sessions[device] = digest


def tell_repository(connection: Connection, organization: str) -> None:
    """The branch moved or may be judged otherwise, or another commit is in force."""
    told(connection).repositories.add(organization)


def post(connection: Connection, sender: str) -> Told:
    """Write what is told for the other processes, before the commit; returns it."""
    whole = told(connection)
    if whole and connection.dialect.name == "postgresql":
        rows = [
            {"kind": kind, "payload": payload, "sender": sender} for kind, payload in _rows(whole)
        ]
        if rows:
            connection.execute(_ADD, rows)
        words = [sender, *([ROWS] if rows else ()), *([WORK] if whole.is_work else ())]
        connection.execute(_NOTIFY, {"words": " ".join(words)})
    return whole


_ADD = insert(change_outbox).values(at=_CLOCK)
_NOTIFY = select(func.pg_notify(CHANNEL, bindparam("words")))


def _rows(whole: Told) -> Iterator[tuple[str, Any]]:
    devices = sorted(whole.devices)
    for first in range(0, len(devices), DEVICES_PER_ROW):
        yield "devices", devices[first : first + DEVICES_PER_ROW]
    if whole.everyone:
        yield "everyone", sorted(whole.everyone)
    if whole.sessions:
        yield "sessions", {str(seq): digest for seq, digest in whole.sessions.items()}
    if whole.repositories:
        yield "repositories", sorted(whole.repositories)


def add_row(whole: Told, kind: str, payload: Any) -> None:
    """Take in one row that another process wrote; an unknown kind is a newer Towline's."""
    match kind:
        case "devices":
            whole.devices.update(payload)
        case "everyone":
            whole.everyone.update(payload)
        case "sessions":
            assert isinstance(payload, Mapping)
            whole.sessions.update({int(seq): digest for seq, digest in payload.items()})
        case "repositories":
            whole.repositories.update(payload)


def newest(connection: Connection) -> int:
    """The number of the newest row; 0 where there was none yet."""
    found = connection.execute(select(func.max(change_outbox.c.id))).scalar_one()
    return int(found or 0)


def prune(connection: Connection) -> None:
    """Let go what everybody has read; the newest row stays, by which they know where they are."""
    newest_id = select(func.max(change_outbox.c.id)).scalar_subquery()
    connection.execute(
        delete(change_outbox).where(
            change_outbox.c.at < _CLOCK - KEPT_S, change_outbox.c.id < newest_id
        )
    )
