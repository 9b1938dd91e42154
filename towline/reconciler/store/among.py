"""A column among many numbers, as one parameter: thousands of them cost a statement nothing."""

import json
from collections.abc import Iterable
from typing import Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnElement,
    Connection,
    any_,
    func,
    literal,
    select,
)


def among(
    connection: Connection, column: ColumnElement[int], numbers: Iterable[int]
) -> ColumnElement[bool]:
    """As `column IN (…)`, with all numbers in one parameter of the connection's engine."""
    listed = list(numbers)
    if connection.dialect.name == "postgresql":
        return column == any_(literal(listed, ARRAY(BigInteger)))
    values = func.json_each(json.dumps(listed)).table_valued("value")
    return column.in_(select(values.c.value))


def listed(connection: Connection, numbers: Iterable[int]) -> Any:
    """The numbers as the rows of a table, `value`, in one parameter as well."""
    if connection.dialect.name == "postgresql":
        array = func.unnest(literal(list(numbers), ARRAY(BigInteger)))
        return array.table_valued("value", name="listed").render_derived()
    return func.json_each(json.dumps(list(numbers))).table_valued("value", name="listed")
