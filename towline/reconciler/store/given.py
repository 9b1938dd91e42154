"""Rows and numbers as one parameter of a statement that is built once for each engine.

However many they are, the statement is the same: nothing is compiled again, and no engine counts
parameters. SQLite reads them with `json_each`, Postgres as a record set or an array.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson
from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnElement,
    Dialect,
    Text,
    TypeDecorator,
    bindparam,
    cast,
    column,
    func,
    select,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.sql.selectable import Subquery
from sqlalchemy.types import TypeEngine


class _Numbers(TypeDecorator[Iterable[int]]):
    """As one text, which costs less than a driver that looks at each."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Iterable[int] | None, dialect: Dialect) -> str:
        numbers = ",".join(map(str, value or ()))
        return f"{{{numbers}}}" if dialect.name == "postgresql" else f"[{numbers}]"


class _Rows(TypeDecorator[Sequence[Mapping[str, Any]]]):
    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str:
        return written(value)


def written(value: Any) -> str:
    """The value as JSON."""
    try:
        return orjson.dumps(value).decode()
    except orjson.JSONEncodeError:
        # A whole number beyond 64 bits, or nesting that orjson does not go into.
        return json.dumps(value)


def among_given(of: str, numbers: ColumnElement[int], parameter: str) -> ColumnElement[bool]:
    """`numbers IN (…)` for the engine named `of`: all are in the parameter of that name.

    On Postgres not `= ANY`: the plan that it keeps for whatever array comes looks through the array
    for each row of a table that it takes to be small.
    """
    given = bindparam(parameter, type_=_Numbers())
    if of == "postgresql":
        each = func.unnest(cast(given, ARRAY(BigInteger))).table_valued("value").render_derived()
        return numbers.in_(select(each.c.value))
    return numbers.in_(select(func.json_each(given).table_valued("value").c.value))


def rows_given(of: str, parameter: str, columns: Mapping[str, TypeEngine[Any]]) -> Subquery:
    """The rows in the parameter of that name, as dictionaries with these columns."""
    given = bindparam(parameter, type_=_Rows())
    if of == "postgresql":
        rows = func.jsonb_to_recordset(cast(given, JSONB(none_as_null=True)))
        named = [column(name, type_) for name, type_ in columns.items()]
        records = rows.table_valued(*named, name="records").render_derived(with_types=True)
        return select(*records.c).subquery("given")
    each = func.json_each(given).table_valued("value").c.value
    parts = [
        func.json_extract(each, f"$.{name}", type_=type_).label(name)
        for name, type_ in columns.items()
    ]
    return select(*parts).subquery("given")
