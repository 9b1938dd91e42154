"""The one metadata and the kinds of columns that all tables share, for SQLite and Postgres."""

from collections.abc import Callable, Collection, Iterable
from operator import itemgetter
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    ColumnElement,
    Integer,
    MetaData,
    Row,
    String,
    cast,
    func,
    literal_column,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.sql.operators import OperatorType
from sqlalchemy.types import TypeEngine

from towline.schemas.states import ACTIVE_TARGETS

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

Number: TypeEngine[int] = BigInteger().with_variant(Integer(), "sqlite")

Document: TypeEngine[Any] = JSON().with_variant(JSONB(), "postgresql")


def bytewise(length: int) -> String:
    """A text that is compared and put in order by its bytes, on both engines and as Python does."""
    return String(length).with_variant(String(length, collation="C"), "postgresql")


Slug = bytewise(63)

Word = bytewise(50)


class _State(String):
    """What it is compared with is written out in the statement, as in the conditions of indexes.

    By a parameter no engine knows that such an index holds what is asked for: Postgres keeps a plan
    without it, and SQLite makes a new one at each execution, which takes longer than most answers.
    """

    class Comparator(String.Comparator[str]):
        """Of columns with states."""

        def operate(self, op: OperatorType, *other: Any, **kwargs: Any) -> ColumnElement[Any]:
            """As ever, but for texts."""
            return super().operate(op, *(_written_out(each) for each in other), **kwargs)

    comparator_factory = Comparator


def _written_out(compared: Any) -> Any:
    if isinstance(compared, str):
        return literal_column(f"'{compared}'") if compared.isidentifier() else compared
    if isinstance(compared, Collection):
        return [_written_out(each) for each in compared]
    return compared


State = _State(50).with_variant(_State(50, collation="C"), "postgresql")

Version = bytewise(100)

Digest = bytewise(64)

ACTIVE_WORDS = ", ".join(f"'{state}'" for state in ACTIVE_TARGETS)
"""Literals, not parameters: else neither engine uses the partial index."""

NOTHING: dict[Any, ColumnElement[Any]] = {
    int: literal_column("0"),
    str: literal_column("''"),
}
"""What can be added to a column of that type without changing it."""


def unindexed(column: ColumnElement[Any]) -> ColumnElement[Any]:
    """The same value, for which no index of the column is used: the engine would choose wrongly."""
    return column + NOTHING[column.type.python_type]


def sum_of(column: ColumnElement[int]) -> ColumnElement[int]:
    """The sum of the column as a whole number, 0 without rows: Postgres makes a decimal of it."""
    return cast(func.coalesce(func.sum(column), 0), Number)


def picked(row: Row[Any], names: Iterable[str]) -> Callable[[Row[Any]], tuple[Any, ...]]:
    """Takes columns out of rows of the same statement: by their places, which is much quicker."""
    fields = row._fields
    found: Callable[[Row[Any]], tuple[Any, ...]] = itemgetter(*map(fields.index, names))
    return found
