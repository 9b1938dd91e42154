"""What a transaction remembers of its questions, and what makes it ask again."""

from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy import Connection, func, insert, select

from tests.reconciler.simulation import Simulation
from tests.stores import open_quickly
from towline.manifests.model import Ownership
from towline.reconciler.store import remembered
from towline.reconciler.store.engine import Store
from towline.reconciler.store.labelled import has_labels
from towline.reconciler.store.labels import intern_labels
from towline.reconciler.store.private_copy import empty_copy, overwrite
from towline.reconciler.store.tables import edge_devices, label_sets, repositories

FLEET = insert(repositories).values(
    organization="acme", url="fleet", branch="main", path="", last_error=""
)


def how_many(connection: Connection) -> int:
    """Label sets, as far as is remembered."""
    return remembered.remembered(
        connection,
        "sets",
        "all",
        [label_sets],
        lambda: connection.execute(select(func.count()).select_from(label_sets)).scalar_one(),
    )


def add(connection: Connection, digest: str) -> None:
    connection.execute(insert(label_sets).values(digest=digest, labels={}))


def add_unseen(connection: Connection, digest: str) -> None:
    """As nobody should: a statement of text alone is not seen."""
    statement = "INSERT INTO label_sets (digest, labels) VALUES (?, '{}')"
    connection.exec_driver_sql(statement, (digest,))


def test_a_question_is_asked_again_once_its_table_was_written(tmp_path: Path) -> None:
    store = open_quickly(tmp_path / "towline.db")
    with store.write() as connection:
        assert how_many(connection) == 0
        add_unseen(connection, "a")
        connection.execute(FLEET)
        assert how_many(connection) == 0
        add(connection, "b")
        assert how_many(connection) == 2


def test_about_something_else_it_is_another_question(tmp_path: Path) -> None:
    store = open_quickly(tmp_path / "towline.db")
    asked = []

    def twice(about: int) -> int:
        asked.append(about)
        return about * 2

    def answer(connection: Connection, about: int) -> int:
        return remembered.remembered(connection, "twice", about, [label_sets], lambda: twice(about))

    with store.read() as connection:
        assert [answer(connection, about) for about in (1, 2, 1)] == [2, 4, 2]
    assert asked == [1, 2]


def test_the_next_transaction_asks_anew_for_others_may_have_written(tmp_path: Path) -> None:
    store, other = (open_quickly(tmp_path / "towline.db") for _ in range(2))
    with store.read() as connection:
        assert how_many(connection) == 0
    with other.write() as connection:
        add(connection, "a")
    with store.read() as connection:
        assert how_many(connection) == 1


def test_in_a_private_copy_an_answer_outlives_its_transaction() -> None:
    store = empty_copy()
    with store.write() as connection:
        assert how_many(connection) == 0
        add_unseen(connection, "a")
    with store.read() as connection:
        assert how_many(connection) == 0


def test_what_is_taken_back_is_forgotten() -> None:
    store = empty_copy()
    with pytest.raises(ZeroDivisionError):
        fail_after_adding(store)
    with store.read() as connection:
        assert how_many(connection) == 0


def fail_after_adding(store: Store) -> None:
    with store.write() as connection:
        add(connection, "a")
        assert how_many(connection) == 1
        raise ZeroDivisionError


def test_a_copy_that_is_written_over_is_asked_anew(tmp_path: Path) -> None:
    source, copy = open_quickly(tmp_path / "towline.db"), empty_copy()
    with source.write() as connection:
        add(connection, "a")
    with copy.read() as connection:
        assert how_many(connection) == 0
    overwrite(copy, source)
    with copy.read() as connection:
        assert how_many(connection) == 1


def test_a_label_set_that_was_taken_back_is_not_taken_for_the_next(tmp_path: Path) -> None:
    """SQLite gives its number away again."""
    fleet = Simulation(tmp_path, devices=0)
    owner = Ownership(labels=(("store", ("s1",)),))
    with suppress(RuntimeError), fleet.store.write() as connection:
        intern_labels(connection, {"store": "s1"})
        assert str(has_labels(connection, owner)) == "true"
        raise RuntimeError
    fleet.enrol("till-1", store="s2")
    with fleet.store.read() as connection:
        owned = select(edge_devices.c.slug).where(has_labels(connection, owner))
        assert not connection.execute(owned).all()
