"""`towline doctor` at the command line: what it prints, and its exit code."""

import json
from pathlib import Path

import pytest
from sqlalchemy import delete

from tests.postgres import Databases
from tests.reconciler.simulation import Simulation, manifest
from towline.cli.main import run
from towline.reconciler.leadership import Leadership
from towline.reconciler.store import tables as t
from towline.reconciler.store.engine import open_store


def test_it_tells_each_check_and_fails_for_what_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fleet = Simulation(tmp_path, devices=1)
    fleet.commit(manifest("1.0.0"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("towline.cli.doctor.time.time", lambda: float(fleet.now))
    assert run(["doctor", "--store", "."]) == 0
    assert "ok   counters    come to the rows of 1 target" in capsys.readouterr().out
    with fleet.store.write() as connection:
        connection.execute(delete(t.deployment_counts))
    assert run(["doctor", "--store", "towline.db", "-o", "json"]) == 1
    checks = json.loads(capsys.readouterr().out)["checks"]
    assert [each["name"] for each in checks if not each["isWell"]] == ["counters"]


def test_it_finds_the_servers_database_by_the_settings(
    tmp_path: Path,
    databases: Databases,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TOWLINE_STORE", databases.fresh())
    assert run(["doctor"]) == 0
    assert "none was elected yet" in capsys.readouterr().out


def test_a_database_that_was_led_and_is_not_is_not_well(
    databases: Databases, capsys: pytest.CaptureFixture[str]
) -> None:
    place = databases.fresh()
    store = open_store(place)
    leadership = Leadership(store)
    leadership.start()
    assert run(["doctor", "--store", place]) == 0
    assert "epoch 1, elected at" in capsys.readouterr().out
    leadership.stop()
    store.close()
    assert run(["doctor", "--store", place]) == 1
    told = capsys.readouterr().out
    assert "nobody leads now; the last was towline pid" in told
    assert "→ start `towline serve`" in told


def test_without_a_store_it_says_what_to_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["doctor"]) == 1
    assert "postgresql:// URL" in capsys.readouterr().err


def test_of_a_file_that_is_no_store_it_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "towline.db").write_bytes(b"none of SQLite's" * 100)
    assert run(["doctor", "--store", str(tmp_path / "towline.db")]) == 1
    told = capsys.readouterr().err
    assert "towline.db cannot be used: file is not a database" in told
    assert "→ look at the disk" in told
