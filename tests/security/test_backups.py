"""`towline backup` of a store in use, and `towline restore` of it with the server stopped."""

import sqlite3
import stat
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import update

from tests.reconciler.simulation import ORGANIZATION, Simulation, manifest
from towline.cli import main
from towline.reconciler import restored
from towline.reconciler.server.only_server import only_on_folder
from towline.reconciler.store import runs, sqlite_file
from towline.reconciler.store import tables as t
from towline.reconciler.store.causes import because
from towline.reconciler.store.engine import Store, open_existing
from towline.schemas.states import Verb

SLOW = "  strategy: immediate\n  maxConcurrent: 1\n"


@pytest.fixture
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Simulation:
    """A fleet whose run is under way, in the data folder that the commands find."""
    made = Simulation(tmp_path, devices=3)
    made.commit(manifest("1.0.0", SLOW))
    made.step()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TOWLINE_DATA", str(tmp_path))
    return made


def backed_up(folder: Path) -> Path:
    file = folder / "kept" / "backup.db"
    file.parent.mkdir()
    assert main.run(["backup", str(file)]) == 0
    return file


def holds_of(store: Store) -> list[str]:
    with store.read() as connection:
        (run,) = runs.live_of(connection, ORGANIZATION)
        holds = runs.holds_of(connection, ORGANIZATION, run.deployment, run.seq)
    return [each.reason for each in holds]


def lose(fleet: Simulation, at: int) -> None:
    """See that the store was put back."""
    with fleet.store.write() as connection:
        because(connection, "restore", at)
        restored.hold_runs(connection, ORGANIZATION, at, "put back")


def test_a_backup_holds_what_was_committed_and_nothing_of_what_is_under_way(
    fleet: Simulation, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with fleet.store.write() as connection:
        connection.execute(update(t.edge_devices).values(state="revoked"))
        file = backed_up(tmp_path)
    assert capsys.readouterr().out == f"{file}\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as read:
        states = read.execute("SELECT DISTINCT state FROM edge_devices").fetchall()
    assert states == [("active",)]
    assert [each.name for each in file.parent.iterdir()] == ["backup.db"], "one whole file"


def test_no_file_is_overwritten_by_a_backup(
    fleet: Simulation, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "other").write_text("mine")
    assert main.run(["backup", str(tmp_path / "other")]) == 1
    assert "is there already" in capsys.readouterr().err
    assert (tmp_path / "other").read_text() == "mine"


@pytest.mark.parametrize(("command", "tool"), [("backup", "pg_dump"), ("restore", "pg_restore")])
def test_of_a_database_postgres_own_tool_is_named(
    command: str,
    tool: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TOWLINE_STORE", "postgresql:///fleet")
    assert main.run([command, "backup.db"]) == 1
    assert tool in capsys.readouterr().err


def test_a_restore_holds_each_run_and_keeps_the_former_store(
    fleet: Simulation, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = backed_up(tmp_path)
    fleet.commit(manifest("2.0.0", SLOW))
    fleet.step()
    fleet.store.close()
    assert main.run(["restore", str(file)]) == 0
    said = capsys.readouterr()
    assert said.out.splitlines()[-1] == str(tmp_path / "towline.db")
    assert "acme/app is held as RestoredFromBackup" in said.err
    store = open_existing(tmp_path / "towline.db")
    with store.read() as connection:
        (run,) = runs.live_of(connection, ORGANIZATION)
    assert (run.target_version, holds_of(store)) == ("1.0.0", [restored.REASON])
    store.close()
    (former,) = tmp_path.glob("towline.db.before-restore-*")
    kept = Store(sqlite_file.open_engine(former))
    with kept.read() as connection:
        newest = runs.newest_run(connection, ORGANIZATION, "app")
    assert newest is not None
    assert newest.target_version == "2.0.0"
    kept.close()
    assert not list(tmp_path.glob(".restoring*"))


@pytest.mark.parametrize(("lost_after_s", "held"), [(0, [restored.REASON]), (-1, [])])
def test_what_git_wanted_before_the_loss_is_held_when_it_begins_anew(
    fleet: Simulation, lost_after_s: int, held: list[str]
) -> None:
    lose(fleet, fleet.now + lost_after_s)
    assert holds_of(fleet.store) == [restored.REASON], "that under way, whatever wants it"
    fleet.commit(manifest("2.0.0", SLOW))
    assert holds_of(fleet.store) == held


def test_what_a_person_asks_for_again_after_the_loss_is_not_held(fleet: Simulation) -> None:
    fleet.verb(Verb.CANCEL)
    lose(fleet, fleet.now)
    fleet.verb(Verb.RETRY)
    fleet.settle()
    assert holds_of(fleet.store) == []


def test_the_log_of_the_former_store_never_meets_the_restored_one(
    fleet: Simulation, tmp_path: Path
) -> None:
    """A server that was killed leaves its log beside its file."""
    file = backed_up(tmp_path)
    log = tmp_path / "towline.db-wal"
    fleet.commit(manifest("2.0.0", SLOW))
    assert log.stat().st_size > 0
    assert main.run(["restore", str(file)]) == 0
    store = open_existing(tmp_path / "towline.db")
    with store.read() as connection:
        assert connection.exec_driver_sql("PRAGMA quick_check").scalar_one() == "ok"
        (run,) = runs.live_of(connection, ORGANIZATION)
        assert run.target_version == "1.0.0"
    store.close()
    assert list(tmp_path.glob("towline.db.before-restore-*-wal"))


def _none(folder: Path) -> Path:
    return folder / "none"


def _text(folder: Path) -> Path:
    (folder / "text").write_text("no store " * 1000)
    return folder / "text"


def _newer(folder: Path) -> Path:
    file = backed_up(folder)
    with closing(sqlite3.connect(file)) as changed, changed:
        changed.execute("UPDATE alembic_version SET version_num = '9999'")
    return file


def _damaged(folder: Path) -> Path:
    file = backed_up(folder)
    content = bytearray(file.read_bytes())
    content[4096 * 3 : 4096 * 6] = b"\xff" * (4096 * 3)
    file.write_bytes(content)
    return file


REFUSED = [
    (_none, "there is no backup at"),
    (_text, "file is not a database"),
    (_newer, "was written by a newer Towline"),
    (_damaged, "cannot be copied"),
]


@pytest.mark.parametrize(("made", "said"), REFUSED)
def test_what_is_no_backup_leaves_the_store_as_it_is(
    made: object,
    said: str,
    fleet: Simulation,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert callable(made)
    file = made(tmp_path)
    before = _files(tmp_path)
    assert main.run(["restore", str(file)]) == 1
    assert said in capsys.readouterr().err
    assert [each for each in _files(tmp_path) if each != "lock"] == before
    assert holds_of(fleet.store) == []


def _files(folder: Path) -> Sequence[str]:
    return sorted(each.name for each in folder.iterdir())


def test_nothing_is_restored_under_a_server_that_runs(
    fleet: Simulation, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = backed_up(tmp_path)
    with only_on_folder(tmp_path):
        assert main.run(["restore", str(file)]) == 1
    said = capsys.readouterr().err
    assert "another server uses the data folder" in said
    assert "→ stop it, then restore again" in said
    assert holds_of(fleet.store) == []
