"""What a commit costs: it looks at devices that it can change, and writes those that it does."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, text, update

from tests.reconciler.simulation import ORGANIZATION
from tests.reconciler.test_follow import NOW, Fleet
from tests.reconciler.test_statement_plans import add_devices, carried_out, scans
from tests.stores import open_quickly
from towline.reconciler.store import git_devices, private_copy, words_of_git
from towline.reconciler.store import tables as t
from towline.reconciler.store.engine import Store, is_postgres
from towline.reconciler.store.git_devices import GitDevice, Said

pytestmark = pytest.mark.both_engines


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_quickly(tmp_path / "towline.db")
    yield opened
    opened.close()


def test_what_a_commit_reads_does_not_grow_with_the_fleet(engine: str, tmp_path: Path) -> None:
    fleet = Fleet(tmp_path)
    with fleet.store.write() as connection:
        add_devices(connection, NOW, 2_000)
    with fleet.store.engine.connect() as connection:
        connection.execute(text("ANALYZE"))
        connection.commit()
    fleet.commit(first=device("till-7", "oslo"), second=device("till-1999", "rome"))
    for change in ({"first": device("till-7", "bonn")}, {"first": None}):
        with carried_out(fleet.store) as statements:
            fleet.commit(**change)
            assert fleet.follower.look(NOW)
        read = rows_read(fleet.store, statements)
        assert 0 < read < 20
        large = [sql for sql, given in statements.items() if scans(fleet.store, sql, given)]
        assert not large
    assert labels_of(fleet.store, ORGANIZATION) == {"till-1999": {"site": "rome"}}


def test_they_are_found_by_an_index_of_them_and_by_whole_names(engine: str, tmp_path: Path) -> None:
    store = open_quickly(tmp_path / "towline.db")
    with store.write() as connection:
        add_devices(connection, NOW, 8_000)
        few = t.edge_devices.c.seq <= 3
        connection.execute(update(t.edge_devices).where(few).values(labels_git={"site": "oslo"}))
    with store.engine.connect() as connection:
        connection.execute(text("ANALYZE"))
        connection.commit()
    names = [f"till-{n}" for n in range(1, 5_001)]
    with carried_out(store) as statements, store.read() as connection:
        assert [len(part) for part in words_of_git.bearing(connection, ORGANIZATION)] == [3]
        assert [len(part) for part in words_of_git.named(connection, ORGANIZATION, names)] == [
            5_000
        ]
    bearing, named = (plan_of(store, sql, statements[sql]) for sql in statements if "edge" in sql)
    assert "ix_edge_devices_words_of_git" in bearing
    # By parts of names, which Postgres may choose, it takes minutes.
    assert "slug_parts" not in named


def test_a_commit_that_changes_nothing_of_many_devices_writes_none(store: Store) -> None:
    number = 300
    with store.write() as connection:
        add_devices(connection, NOW, number)
    devices = {f"till-{n}": GitDevice({"site": f"s{n % 3}"}) for n in range(1, number + 1)}
    assert written(store, devices) == number
    assert written(store, devices) == 0
    assert written(store, devices | {"till-7": GitDevice(is_revoked=True)}) == 1
    assert written(store, {}) == number
    assert labels_of(store, ORGANIZATION) == {}


def test_a_private_copy_finds_them_as_well() -> None:
    copy = private_copy.empty_copy()
    with copy.write() as connection:
        add_devices(connection, NOW, 3)
        said = Said(ORGANIZATION, {"till-2": GitDevice({"site": "oslo"})})
        git_devices.put_in_force(connection, git_devices.compare(connection, said))
        (found,) = words_of_git.bearing(connection, ORGANIZATION)
        assert [row.slug for row in found] == ["till-2"]


def device(name: str, site: str) -> str:
    """A Device manifest."""
    return (
        "apiVersion: towline/v1\nkind: Device\nspec: {}\n"
        f"metadata: {{name: {name}, labels: {{site: {site}}}}}\n"
    )


def plan_of(store: Store, sql: str, given_: Any) -> str:
    """How the engine carries a statement out."""
    with store.engine.connect() as connection:
        word = "EXPLAIN" if is_postgres(connection) else "EXPLAIN QUERY PLAN"
        rows = connection.exec_driver_sql(f"{word} {sql}", given_).all()
    return "\n".join(str(value) for row in rows for value in row)


def rows_read(store: Store, statements: Mapping[str, Any]) -> int:
    """How many rows of devices come when the same is asked again."""
    asked = [
        (sql, given)
        for sql, given in statements.items()
        if sql.startswith("SELECT edge_devices.") or "FROM edge_devices" in sql
    ]
    with store.engine.connect() as connection:
        return sum(len(connection.exec_driver_sql(sql, given).all()) for sql, given in asked)


def written(store: Store, devices: Mapping[str, GitDevice]) -> int:
    """How many devices a commit writes."""
    with store.read() as connection:
        before = connection.execute(select(t.dirty_devices)).all()
        compared = git_devices.compare(connection, Said(ORGANIZATION, devices))
    with store.write() as connection:
        git_devices.put_in_force(connection, compared)
        return len(set(connection.execute(select(t.dirty_devices)).all()) - set(before))


def labels_of(store: Store, organization: str) -> dict[str, Any]:
    """By device what git labels it with, where it does."""
    with store.read() as connection:
        found = connection.execute(
            select(t.edge_devices.c.slug, t.edge_devices.c.labels_git).where(
                t.edge_devices.c.organization == organization
            )
        )
        return {row.slug: row.labels_git for row in found if row.labels_git}
