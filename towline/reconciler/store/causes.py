"""Why a transaction changes something: who or what makes it happen, and when.

Said once by whoever begins the work, so that every change that is written after it carries it. It
belongs to one transaction: the store begins each with none.
"""

from dataclasses import dataclass

from sqlalchemy import Connection

_KEY = "towline.cause"


@dataclass(frozen=True, slots=True)
class Cause:
    """What the changes of a transaction are recorded with."""

    words: str
    """A verb and its author, `report`, `clock`, `gate`, a commit and its author."""
    at: int
    """Seconds since the epoch."""


def begin(connection: Connection, *, is_recorded: bool) -> None:
    """A transaction begins: nobody said yet why. `is_recorded`: its changes are to be kept."""
    connection.info[_KEY] = None if is_recorded else False


def because(connection: Connection, words: str, at: int) -> None:
    """What follows in this transaction happens because of it."""
    if is_recorded(connection):
        connection.info[_KEY] = Cause(words, at)


def is_recorded(connection: Connection) -> bool:
    """False in a private copy, of which nobody will ask how it came about."""
    return connection.info.get(_KEY) is not False


def cause_of(connection: Connection) -> Cause | None:
    """What was said last; None when nothing was."""
    return connection.info.get(_KEY) or None
