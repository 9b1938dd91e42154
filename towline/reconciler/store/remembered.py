"""What was asked already: the same question is not asked twice before what it is about is written.

A pass observes and then performs in one transaction; both ask which devices fit. Nobody else can
write in between, so that an answer is true until this connection itself writes to a table that the
answer comes from. In a private copy, to which nobody else ever writes, it outlives transactions.
"""

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, Table, event
from sqlalchemy.sql.dml import UpdateBase

Answer = TypeVar("Answer")
_ANSWERS, _WRITES, _FIRSTS = "remembered", "writes", "firsts"


def watch(engine: Engine) -> None:
    """Count what the engine's connections write.

    Statements of text alone are not seen: whoever writes by them calls `forget` or `wrote`.
    """
    event.listen(engine, "before_execute", _count_write)


def forget(connection: Connection) -> None:
    """Another transaction may have written, or this one is taken back."""
    connection.info.pop(_ANSWERS, None)
    connection.info.pop(_FIRSTS, None)


def is_first(connection: Connection, what: str, about: Hashable) -> bool:
    """True once for `what` is done `about` it: again it would change nothing."""
    firsts: dict[str, set[Hashable]] = connection.info.setdefault(_FIRSTS, {})
    done = firsts.setdefault(what, set())
    if about in done:
        return False
    done.add(about)
    return True


def forget_firsts(connection: Connection, what: str) -> None:
    """What was done is undone: again it would change something."""
    connection.info.get(_FIRSTS, {}).pop(what, None)


def remembered(
    connection: Connection, what: str, about: Any, of: Sequence[Table], ask: Callable[[], Answer]
) -> Answer:
    """The answer to `what` asked `about` something that can be compared, read from `of`."""
    writes: Counter[str] = connection.info.setdefault(_WRITES, Counter())
    stand = [writes[table.name] for table in of]
    known: dict[str, list[tuple[Any, list[int], Any]]] = connection.info.setdefault(_ANSWERS, {})
    answers = [each for each in known.get(what, []) if each[1] == stand]
    for same, _, answer in answers:
        if same == about:
            found: Answer = answer
            return found
    answer = ask()
    known[what] = [*answers, (about, stand, answer)]
    return answer


def wrote(connection: Connection, table: Table) -> None:
    """The table was written by a statement that is not seen here."""
    writes: Counter[str] = connection.info.setdefault(_WRITES, Counter())
    writes[table.name] += 1


def _count_write(connection: Connection, statement: Any, *_: Any) -> None:
    if isinstance(statement, UpdateBase):
        assert isinstance(statement.table, Table)
        wrote(connection, statement.table)
