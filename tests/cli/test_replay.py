"""`towline replay`: what stood at a time, and whether the record comes to what is stored."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import update

from tests.reconciler.simulation import ORGANIZATION, Simulation, manifest
from towline.cli.main import run
from towline.cli.replay import moment
from towline.reconciler.store import tables as t
from towline.schemas import times
from towline.schemas.problems import Problem
from towline.schemas.states import Verb


@pytest.fixture
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Simulation]:
    monkeypatch.setenv("TOWLINE_ORGANIZATION", ORGANIZATION)
    monkeypatch.chdir(tmp_path)
    played = Simulation(tmp_path, devices=3)
    played.commit(manifest("1.0.0", "  strategy: immediate\n"))
    yield played
    played.store.close()


def test_it_tells_what_stood_then(fleet: Simulation, capsys: pytest.CaptureFixture[str]) -> None:
    fleet.verb(Verb.PAUSE)
    then = times.to_rfc3339(fleet.now)
    fleet.now += 60
    fleet.verb(Verb.RESUME)
    fleet.step(8)
    assert run(["replay", "--store", ".", "--at", then]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0].startswith("app 1.0.0  ")
    assert "paused" in told[0]
    assert told[1:3] == [
        "  batch 1  rest  open  3: 3 pending",
        f"  hold     PausedByUser since {then}: ops: because",
    ]
    assert told[3].startswith("rebuilt 1 run, 1 batch, 1 hold, 3 targets from ")
    assert run(["replay", "--store", "towline.db"]) == 0
    now = capsys.readouterr().out.splitlines()
    assert "completed" in now[0]
    assert now[-1] == "equals the store"


def test_a_row_written_past_the_record_is_an_error(
    fleet: Simulation, capsys: pytest.CaptureFixture[str]
) -> None:
    with fleet.store.write() as connection:
        connection.execute(update(t.batches).values(size=7))
    assert run(["replay", "--store", "."]) == 1
    told = capsys.readouterr().out.splitlines()
    assert told[-1] == "1 rows differ from the store"
    assert told[-2].startswith("  differs: batches (1, 0): rebuilt ")
    assert run(["replay", "--store", ".", "-o", "json"]) == 1
    assert json.loads(capsys.readouterr().out)["differences"] == 1


def test_a_name_narrows_it_and_a_time_before_everything_shows_nothing(
    fleet: Simulation, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["replay", "other", "--store", ".", "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["deployments"] == []
    assert run(["replay", "--store", ".", "--at", "2020-01-01T00:00:00Z"]) == 0
    assert capsys.readouterr().out == "nothing was recorded up to 2020-01-01T00:00:00Z\n"


def test_a_time_is_rfc_3339_or_how_long_ago() -> None:
    assert moment("2026-09-24T06:00:00Z", 0.0) == 1_790_229_600
    assert moment("2h", 10_000.5) == 2_800
    with pytest.raises(Problem, match="is no time"):
        moment("yesterday", 0.0)
