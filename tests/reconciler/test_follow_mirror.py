"""Following a repository elsewhere: what a force push, a deleted branch and an outage do."""

from contextlib import suppress
from pathlib import Path

import pytest

from tests.reconciler.simulation import ORGANIZATION
from tests.reconciler.test_follow import NOW, Fleet, app
from towline.manifests.mirror import Mirror
from towline.manifests.remote import Remote
from towline.reconciler.acts import accept_commit
from towline.reconciler.follow import Follower
from towline.schemas.problems import Problem


class Elsewhere(Fleet):
    """A fleet repository that is followed through a mirror."""

    mirror: Mirror

    def new_follower(self) -> Follower:
        self.mirror = Mirror(Remote(f"file://{self.folder}"), self.folder.parent / "mirrors")
        return Follower(self.store, self.mirror, ORGANIZATION)

    def fetch_and_look(self, now: int = NOW) -> bool:
        with suppress(Problem):
            self.mirror.fetch(now)
        return self.follower.look(now)


@pytest.fixture
def fleet(tmp_path: Path) -> Elsewhere:
    fleet = Elsewhere(tmp_path)
    fleet.commit(app=app("1.0.0"))
    fleet.commit(app=app("2.0.0"))
    assert fleet.fetch_and_look()
    return fleet


def test_a_commit_comes_into_force_with_the_fetch_that_brings_it(fleet: Elsewhere) -> None:
    fleet.commit(app=app("3.0.0"))
    assert not fleet.follower.look(NOW)
    assert fleet.fetch_and_look()
    assert fleet.versions() == {"app": "3.0.0"}


def test_a_force_push_is_held_until_a_person_accepts_it(fleet: Elsewhere) -> None:
    fleet.git("reset", "-q", "--hard", "HEAD~1")
    pushed = fleet.commit(app=app("3.0.0"))
    assert not fleet.fetch_and_look()
    assert fleet.versions() == {"app": "2.0.0"}
    assert "force push" in str(fleet.repository()["hold_reason"])
    accept_commit(fleet.store, ORGANIZATION, pushed, author="ops", reason="x", now=NOW)
    assert fleet.fetch_and_look()
    assert fleet.versions() == {"app": "3.0.0"}


def test_a_restart_after_a_force_push_still_knows_what_is_in_force(fleet: Elsewhere) -> None:
    fleet.git("reset", "-q", "--hard", "HEAD~1")
    fleet.commit(app=app("3.0.0"))
    fleet.fetch_and_look()
    fleet.follower = fleet.new_follower()
    fleet.fetch_and_look()
    assert fleet.versions() == {"app": "2.0.0"}


def test_a_deleted_branch_leaves_in_force_what_was(fleet: Elsewhere) -> None:
    fleet.git("branch", "-m", "main", "other")
    assert not fleet.fetch_and_look()
    assert fleet.versions() == {"app": "2.0.0"}
    assert "has no branch main" in str(fleet.repository()["last_error"])


def test_only_a_fetch_that_succeeds_counts_as_a_look(fleet: Elsewhere) -> None:
    fleet.follower.look(NOW + 500)
    assert fleet.repository()["last_fetch_at"] == NOW
    fleet.fetch_and_look(NOW + 600)
    assert fleet.repository()["last_fetch_at"] == NOW + 600
    fleet.folder.rename(fleet.folder.with_name("away"))
    fleet.fetch_and_look(NOW + 700)
    assert fleet.repository()["last_fetch_at"] == NOW + 600
    assert "there is no repository at" in str(fleet.repository()["last_error"])
