"""What is noted of looks at the repository, and that an outage is told once."""

from pathlib import Path

import pytest
from sqlalchemy import select

from tests.reconciler.simulation import ORGANIZATION
from tests.reconciler.test_follow import NOW, Fleet, app
from towline.reconciler.store import dirt
from towline.reconciler.store import tables as t

ALERT_S, HOLD_S = 15 * 60, 24 * 3600
POLICY = (
    "apiVersion: towline/v1\nkind: Policy\nmetadata: {{name: fleet}}\n"
    "spec: {{staleGit: {{alertAfter: {alert}, holdAfter: {hold}}}}}\n"
)


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    """One Deployment in force since NOW."""
    fleet = Fleet(tmp_path)
    fleet.commit(app=app("1.0.0"))
    fleet.follower.look(NOW)
    return fleet


def take_away(fleet: Fleet) -> None:
    fleet.folder.rename(fleet.folder.with_name("away"))


def bring_back(fleet: Fleet) -> None:
    fleet.folder.with_name("away").rename(fleet.folder)


def kinds(fleet: Fleet) -> list[str]:
    with fleet.store.read() as connection:
        return list(connection.execute(select(t.events.c.kind).order_by(t.events.c.id)).scalars())


def dirty(fleet: Fleet) -> list[str]:
    with fleet.store.write() as connection:
        return dirt.take(connection, ORGANIZATION)


def test_a_look_that_finds_nothing_new_is_noted_once_a_minute(fleet: Fleet) -> None:
    for after, noted in ((1, 0), (59, 0), (60, 60), (61, 60), (200, 200)):
        fleet.follower.look(NOW + after)
        assert fleet.repository()["last_fetch_at"] == NOW + noted


def test_a_clock_that_is_set_back_makes_no_time_of_the_future(fleet: Fleet) -> None:
    fleet.follower.look(NOW - 5000)
    assert fleet.repository()["last_fetch_at"] == NOW - 5000


def test_a_held_commit_is_a_successful_look(fleet: Fleet) -> None:
    fleet.git("commit", "-q", "--amend", "-m", "another")
    fleet.follower.look(NOW + 100)
    assert fleet.repository()["held_commit"]
    fleet.follower.look(NOW + 300)
    assert fleet.repository()["last_fetch_at"] == NOW + 300


def test_an_outage_keeps_the_time_of_the_last_look(fleet: Fleet) -> None:
    fleet.follower.look(NOW + 30)
    take_away(fleet)
    fleet.follower.look(NOW + 40)
    fleet.follower.look(NOW + 500)
    assert fleet.repository()["last_fetch_at"] == NOW + 30


def test_an_outage_is_told_as_stale_once_and_shown(fleet: Fleet) -> None:
    take_away(fleet)
    fleet.follower.look(NOW + ALERT_S - 1)
    assert "repository.stale" not in kinds(fleet)
    assert "last read" not in str(fleet.repository()["last_error"])
    for later in range(3):
        fleet.follower.look(NOW + ALERT_S + later)
    assert kinds(fleet).count("repository.stale") == 1
    assert kinds(fleet).count("repository.unreachable") == 1
    assert "(last read 2027-01-15T08:00:00Z)" in str(fleet.repository()["last_error"])


def test_a_restart_and_another_error_in_an_outage_are_no_other_outage(fleet: Fleet) -> None:
    take_away(fleet)
    fleet.follower.look(NOW + ALERT_S)
    fleet.follower = fleet.new_follower()
    fleet.folder.mkdir()
    fleet.follower.look(NOW + ALERT_S + 9)
    assert "is no git repository" in str(fleet.repository()["last_error"])
    assert kinds(fleet).count("repository.unreachable") == 2
    assert kinds(fleet).count("repository.stale") == 1


def test_the_next_outage_is_told_again(fleet: Fleet) -> None:
    for begin in (NOW, NOW + 10_000):
        fleet.follower.look(begin)
        take_away(fleet)
        fleet.follower.look(begin + ALERT_S)
        bring_back(fleet)
        fleet.follower.look(begin + ALERT_S + 1)
        assert fleet.repository()["last_error"] == ""
    assert kinds(fleet).count("repository.stale") == 2


def test_the_policy_in_force_says_when(fleet: Fleet) -> None:
    fleet.write("policy.yaml", POLICY.format(alert="1m", hold="1h"))
    fleet.commit()
    fleet.follower.look(NOW)
    take_away(fleet)
    fleet.follower.look(NOW + 60)
    assert "repository.stale" in kinds(fleet)


def test_every_deployment_is_looked_at_when_git_goes_stale_and_when_it_is_back(
    fleet: Fleet,
) -> None:
    dirty(fleet)
    take_away(fleet)
    fleet.follower.look(NOW + HOLD_S - 1)
    assert dirty(fleet) == []
    fleet.follower.look(NOW + HOLD_S)
    assert dirty(fleet) == ["app"]
    fleet.follower.look(NOW + HOLD_S + 60)
    assert dirty(fleet) == []
    bring_back(fleet)
    fleet.follower.look(NOW + HOLD_S + 61)
    assert dirty(fleet) == ["app"]


def test_an_outage_over_a_restart_leaves_in_force_what_was(fleet: Fleet) -> None:
    fleet.git("branch", "-m", "main", "other")
    fleet.follower = fleet.new_follower()
    assert not fleet.follower.look(NOW + 100)
    assert fleet.versions() == {"app": "1.0.0"}


def test_a_deleted_branch_changes_nothing_and_is_named(fleet: Fleet) -> None:
    fleet.git("branch", "-m", "main", "other")
    assert not fleet.follower.look(NOW + 100)
    assert fleet.versions() == {"app": "1.0.0"}
    assert "has no branch main" in str(fleet.repository()["last_error"])
    assert "there are: other" in str(fleet.repository()["last_error"])
    assert kinds(fleet).count("repository.branch-missing") == 1
    fleet.git("branch", "-m", "other", "main")
    fleet.follower.look(NOW + 200)
    assert fleet.repository()["last_error"] == ""
