"""Several questions asked in one statement: one way to the database and back for all of them.

Each answer comes as one text. Rows would come one by one, and for each of SQLite's another thread
may take its turn first.
"""

from collections.abc import Mapping
from typing import Any

import orjson
from sqlalchemy import Connection, ScalarSelect, Select, Text, cast, func, select

Rows = list[list[Any]]


def together(engine: str, *questions: Select[Any]) -> Select[Any]:
    """The one statement; what the questions ask for is text, whole numbers and NULL."""
    return select(*(_as_text(engine, each) for each in questions))


def ask(connection: Connection, asked: Select[Any], given: Mapping[str, Any]) -> list[Rows]:
    """The answers to what was put together."""
    texts = connection.execute(asked, given).one()
    return [orjson.loads(text) if text else [] for text in texts]


def _as_text(engine: str, question: Select[Any]) -> ScalarSelect[Any]:
    rows = question.subquery().c
    if engine == "postgresql":
        return select(cast(func.json_agg(func.json_build_array(*rows)), Text)).scalar_subquery()
    return select(func.json_group_array(func.json_array(*rows))).scalar_subquery()
