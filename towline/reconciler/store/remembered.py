"""What a transaction has asked already: the same question is not asked twice before it writes.

A pass observes and then performs in one transaction; both ask which devices fit. Nobody else can
write in between, so that an answer is true until this connection itself has written.
"""

from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy import Connection

Answer = TypeVar("Answer")
_KEY = "remembered"


def forget(connection: Connection) -> None:
    """A transaction begins."""
    connection.info.pop(_KEY, None)


def remembered(connection: Connection, what: str, about: Any, ask: Callable[[], Answer]) -> Answer:
    """The answer to `what` asked `about` something that can be compared; asked at most once."""
    written = _written(connection)
    if written is None:
        return ask()
    known: dict[str, list[tuple[int, Any, Any]]] = connection.info.setdefault(_KEY, {})
    answers = [each for each in known.get(what, []) if each[0] == written]
    for _, same, answer in answers:
        if same == about:
            found: Answer = answer
            return found
    answer = ask()
    known[what] = [*answers, (written, about, answer)]
    return answer


def _written(connection: Connection) -> int | None:
    """Rows that the connection has written so far; None where the engine does not tell."""
    changes = getattr(connection.connection.driver_connection, "total_changes", None)
    return changes if isinstance(changes, int) else None
