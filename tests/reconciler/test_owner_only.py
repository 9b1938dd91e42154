"""Nobody but its owner reads a SQLite store, what SQLite keeps beside it, and its copies."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from tests.reconciler.test_store_opening import scripts_with
from towline.reconciler.server.restoring import restore
from towline.reconciler.store import file_copies, migrate, owner_only
from towline.reconciler.store.apart import open_migrated
from towline.reconciler.store.engine import open_existing, open_store


@pytest.fixture(autouse=True)
def _generous_umask() -> Iterator[None]:
    former = os.umask(0)
    yield
    os.umask(former)


def modes(folder: Path) -> dict[str, int]:
    return {each.name: each.stat().st_mode & 0o7777 for each in folder.iterdir()}


def test_a_new_store_and_its_folder_are_its_owners_alone(tmp_path: Path) -> None:
    data = tmp_path / "var" / "data"
    store = open_migrated(data / "towline.db")
    with store.write() as connection:
        connection.execute(text("UPDATE leader_epoch SET epoch = epoch"))
        assert modes(data) == {
            "towline.db": 0o600,
            "towline.db-wal": 0o600,
            "towline.db-shm": 0o600,
        }
    store.close()
    assert data.stat().st_mode & 0o777 == 0o700


def test_a_store_of_an_earlier_towline_is_tightened_with_its_copies(tmp_path: Path) -> None:
    tmp_path.chmod(0o750)
    path = tmp_path / "towline.db"
    store = open_store(path)
    with store.read() as connection:
        connection.execute(text("SELECT 1 FROM runs")).all()
        (tmp_path / "towline.db.before-0001").touch()
        (tmp_path / "towline.db.mine").touch()
        for each in tmp_path.iterdir():
            each.chmod(0o664)
        open_store(path).close()
        assert modes(tmp_path) == {
            "towline.db": 0o600,
            "towline.db-wal": 0o600,
            "towline.db-shm": 0o600,
            "towline.db.before-0001": 0o600,
            "towline.db.mine": 0o664,
        }
    store.close()
    assert tmp_path.stat().st_mode & 0o777 == 0o750  # others may need what else lies there


def test_who_only_looks_into_a_store_leaves_it_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "towline.db"
    open_store(path).close()
    path.chmod(0o640)
    open_existing(path).close()
    assert modes(tmp_path) == {"towline.db": 0o640}


def test_the_copy_before_a_migration_is_its_owners_alone(tmp_path: Path) -> None:
    data = tmp_path / "data"
    store = open_store(data / "towline.db")
    scripts = scripts_with(tmp_path, "SELECT 1")
    migrate.upgrade(store.engine, data / "towline.db", scripts)
    store.close()
    assert len(modes(data)) == 2
    assert set(modes(data).values()) == {0o600}


def test_a_backup_and_what_it_is_put_in_place_of_are_their_owners_alone(tmp_path: Path) -> None:
    data, backup = tmp_path / "data", tmp_path / "backup.db"
    path = data / "towline.db"
    open_store(path).close()
    file_copies.take(path, backup)
    assert backup.stat().st_mode & 0o777 == 0o600
    path.chmod(0o644)
    done = restore(backup, data, 1_800_000_000)
    assert done.former is not None
    assert {done.store.stat().st_mode & 0o777, done.former.stat().st_mode & 0o777} == {0o600}
    restore(backup, tmp_path / "another", 1_800_000_000)
    assert (tmp_path / "another").stat().st_mode & 0o777 == 0o700


def test_a_file_of_another_user_is_told_and_used_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "towline.db"
    open_store(path).close()
    path.chmod(0o660)

    def refuse(self: Path, mode: int) -> None:
        raise PermissionError(1, "Operation not permitted", str(self))

    monkeypatch.setattr(Path, "chmod", refuse)
    with capture_logs() as told:
        owner_only.tighten(path)
    assert [(each["event"], each["file"]) for each in told] == [("store.open-to-others", str(path))]
    open_store(path).close()
