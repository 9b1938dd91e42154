"""What Postgres is told of the statements that it sees again and again."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, bindparam, func, insert, select, text

from tests.stores import open_fresh
from towline.reconciler.store import hints
from towline.reconciler.store import tables as t
from towline.reconciler.store.engine import Store

pytestmark = pytest.mark.parametrize("engine", ["postgres"], indirect=True)
LABEL_SETS = 2000
_ABOVE = select(func.count()).where(t.label_sets.c.id > bindparam("above"))


@pytest.fixture
def store(engine: str, tmp_path: Path) -> Iterator[Store]:
    opened = open_fresh(tmp_path / "towline.db")
    with opened.write() as connection:
        rows = [{"id": n, "digest": f"{n:064}", "labels": {}} for n in range(1, LABEL_SETS)]
        connection.execute(insert(t.label_sets), rows)
        hints.count_anew(connection, t.label_sets)
    yield opened
    opened.close()


def plans_kept(store: Store, statement: object) -> tuple[int, int]:
    """Of the statement, asked a dozen times for the few last rows: how many, and how often used."""
    with store.write() as connection:
        ask_often(connection, statement)
        return kept(connection)


def ask_often(connection: Connection, statement: object) -> None:
    for _ in range(12):
        connection.execute(statement, {"above": LABEL_SETS - 3}).scalar_one()  # type: ignore[call-overload]


def kept(connection: Connection) -> tuple[int, int]:
    found = connection.execute(
        text(
            "SELECT count(*), coalesce(sum(generic_plans + custom_plans), 0)"
            " FROM pg_prepared_statements WHERE statement LIKE '%label_sets.id > %'"
        )
    ).one()
    return int(found[0]), int(found[1])


def test_a_statement_that_is_asked_often_is_prepared(store: Store) -> None:
    number, used = plans_kept(store, _ABOVE)
    assert number == 1
    assert used > 1


def test_one_that_is_planned_anew_never_is(store: Store) -> None:
    assert plans_kept(store, hints.planned_anew(_ABOVE)) == (0, 0)


def test_what_is_prepared_outlives_what_people_read(store: Store) -> None:
    number, used = plans_kept(store, _ABOVE)
    with store.read() as connection:
        connection.execute(_ABOVE, {"above": 0}).scalar_one()
        assert kept(connection) == (number, used)


def test_what_people_read_is_not_prepared(store: Store) -> None:
    with store.read() as connection:
        ask_often(connection, _ABOVE)
        assert kept(connection) == (0, 0)
