"""`towline repo status`: what is followed, in force, held and wrong, from a real store."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.reconciler.simulation import ORGANIZATION
from tests.reconciler.test_follow import NOW, Fleet, app
from towline.cli import verbs
from towline.cli.main import run
from towline.reconciler.store import reading_devices


class Answers:
    """In place of the HTTP client: what the server would answer about the fleet."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet

    def get(self, _: str) -> dict[str, Any]:
        with self.fleet.store.read() as connection:
            found = reading_devices.repository(connection, ORGANIZATION)
        assert found is not None
        return found


@pytest.fixture
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fleet:
    """One Deployment in force since NOW."""
    fleet = Fleet(tmp_path)
    fleet.commit(app=app("1.0.0"))
    fleet.follower.look(NOW)
    monkeypatch.setattr(verbs, "connect", lambda: Answers(fleet))
    return fleet


def test_it_tells_what_is_followed_what_is_in_force_and_the_last_look(
    fleet: Fleet, capsys: pytest.CaptureFixture[str]
) -> None:
    sha = fleet.git("rev-parse", "HEAD")
    fleet.follower.look(NOW + 3600)
    assert run(["repo", "status"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"follows    main of {fleet.folder}",
        f"in force   {sha} since 2027-01-15T08:00:00Z",
        "last look  2027-01-15T09:00:00Z",
    ]


def test_a_held_commit_comes_with_the_line_that_accepts_it(
    fleet: Fleet, capsys: pytest.CaptureFixture[str]
) -> None:
    fleet.git("commit", "-q", "--amend", "-m", "another")
    sha = fleet.git("rev-parse", "HEAD")
    fleet.follower.look(NOW)
    assert run(["repo", "status"]) == 0
    said = capsys.readouterr().out
    assert f"held       {sha}: " in said
    assert f"`towline repo accept {sha[:12]} --reason …` applies it" in said


def test_an_outage_says_what_failed_what_to_do_and_since_when(
    fleet: Fleet, capsys: pytest.CaptureFixture[str]
) -> None:
    fleet.folder.rename(fleet.folder.with_name("away"))
    fleet.follower.look(NOW + 3600)
    assert run(["repo", "status"]) == 0
    (line,) = [each for each in capsys.readouterr().out.splitlines() if each.startswith("error")]
    assert "there is no repository at" in line
    assert "--repo" in line
    assert "last read 2027-01-15T08:00:00Z" in line


def test_the_document_says_the_same(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["repo", "status", "-o", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["url"] == str(fleet.folder)
    assert found["last_fetch_at"] == "2027-01-15T08:00:00Z"
