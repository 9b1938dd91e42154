"""Following a real git repository: what comes into force, what is held, what survives."""

import subprocess
from pathlib import Path

import pytest
from sqlalchemy import select

from tests.manifests.signing import Signer
from tests.reconciler.simulation import ORGANIZATION, RELEASE_KEY, ROOT, manifest
from tests.stores import open_fresh
from towline.manifests.repository import Repository
from towline.reconciler.acts import NotAllowed, accept_commit, act
from towline.reconciler.follow import Follower
from towline.reconciler.passing import pass_over
from towline.reconciler.store import repositories
from towline.reconciler.store import tables as t
from towline.reconciler.store.engine import Store
from towline.schemas.states import Verb

NOW = 1_800_000_000


class Fleet:
    """A fleet repository and what follows it."""

    def __init__(self, folder: Path, store: Store | None = None) -> None:
        """`store`: one that is there already."""
        self.folder = folder / "fleet"
        self.folder.mkdir()
        self.git("init", "-q", "-b", "main")
        self.write("trust/root/1.json", ROOT.sign(RELEASE_KEY).decode())
        self.store: Store = store or open_fresh(folder / "towline.db")
        with self.store.write() as connection:
            repositories.ensure(connection, ORGANIZATION, str(self.folder), "main", "", NOW)
        self.follower = self.new_follower()

    def new_follower(self) -> Follower:
        return Follower(self.store, Repository(self.folder), ORGANIZATION)

    def git(self, *arguments: str) -> str:
        who = ["-c", "user.name=Ada", "-c", "user.email=ada@acme.example"]
        command = ["git", "-C", str(self.folder), *who, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def write(self, path: str, text: str) -> None:
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def commit(self, **texts: str | None) -> str:
        for name, text in texts.items():
            path = f"deployments/{name}.yaml"
            if text is None:
                (self.folder / path).unlink()
            else:
                self.write(path, text)
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", "a change")
        return self.git("rev-parse", "HEAD")

    def versions(self) -> dict[str, str]:
        head = self.follower.head
        assert head is not None
        return {name: each.target_version for name, each in head.deployments.items()}

    def repository(self) -> dict[str, object]:
        with self.store.read() as connection:
            return dict(repositories.get(connection, ORGANIZATION)._mapping)


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    return Fleet(tmp_path)


def app(version: str, name: str = "app") -> str:
    return manifest(version, name=name)


def test_a_commit_comes_into_force_once(fleet: Fleet) -> None:
    sha = fleet.commit(app=app("1.0.0"))
    assert fleet.follower.look(NOW)
    assert not fleet.follower.look(NOW)
    assert fleet.versions() == {"app": "1.0.0"}
    assert fleet.repository()["applied_commit"] == sha


def test_a_broken_deployment_keeps_its_last_good_form_and_blocks_no_other(fleet: Fleet) -> None:
    fleet.commit(app=app("1.0.0"), other=app("1.0.0", "other"))
    fleet.follower.look(NOW)
    broken = app("2.0.0").replace("targetVersion", "targetVersoin")
    fleet.commit(app=broken, other=app("2.0.0", "other"))
    assert fleet.follower.look(NOW)
    assert fleet.versions() == {"app": "1.0.0", "other": "2.0.0"}
    with fleet.store.read() as connection:
        rows = repositories.manifests_of(connection, ORGANIZATION)
    assert "targetVersion" in str(rows["app"].errors)
    assert not rows["other"].errors


def test_a_file_that_is_no_yaml_any_more_is_never_a_removal(fleet: Fleet) -> None:
    fleet.commit(app=app("1.0.0"))
    fleet.follower.look(NOW)
    fleet.commit(app=app("1.0.0") + "\n  : [")
    fleet.follower.look(NOW)
    assert fleet.versions() == {"app": "1.0.0"}


def test_the_last_good_form_survives_a_restart(fleet: Fleet) -> None:
    fleet.commit(app=app("1.0.0"))
    fleet.follower.look(NOW)
    fleet.commit(app=app("2.0.0").replace("targetVersion", "targetVersoin"))
    fleet.follower.look(NOW)
    fleet.follower = fleet.new_follower()
    fleet.follower.look(NOW)
    assert fleet.versions() == {"app": "1.0.0"}


def test_a_force_push_is_held_until_a_person_accepts_it(fleet: Fleet) -> None:
    fleet.commit(app=app("1.0.0"))
    old = fleet.commit(app=app("2.0.0"))
    fleet.follower.look(NOW)
    fleet.git("reset", "-q", "--hard", "HEAD~1")
    pushed = fleet.commit(app=app("3.0.0"))
    assert not fleet.follower.look(NOW)
    assert fleet.versions() == {"app": "2.0.0"}
    seen = fleet.repository()
    assert (seen["applied_commit"], seen["held_commit"]) == (old, pushed)
    assert "force push" in str(seen["hold_reason"])
    with pytest.raises(NotAllowed, match="not held"):
        accept_commit(fleet.store, ORGANIZATION, old, author="ops", reason="x", now=NOW)
    accept_commit(fleet.store, ORGANIZATION, pushed[:12], author="ops", reason="x", now=NOW)
    assert fleet.follower.look(NOW)
    assert fleet.versions() == {"app": "3.0.0"}
    assert fleet.repository()["held_commit"] is None


def test_a_commit_that_nobody_signed_who_may_is_held_whoever_accepts_it(
    fleet: Fleet, tmp_path: Path
) -> None:
    ada, eve = (Signer.make(tmp_path, name) for name in ("ada", "eve"))
    signers = tmp_path / "signers"
    signers.write_text(f"ada@acme {ada.public}\n")
    repository = Repository(fleet.folder, allowed_signers=signers)
    fleet.follower = Follower(fleet.store, repository, ORGANIZATION)
    fleet.commit(app=app("1.0.0"))
    ada.commit(fleet.folder)
    assert fleet.follower.look(NOW)
    for signer in (None, eve):
        sha = fleet.commit(app=app("6.6.6"))
        sha = signer.commit(fleet.folder) if signer else sha
        assert not fleet.follower.look(NOW)
        accept_commit(fleet.store, ORGANIZATION, sha, author="ops", reason="x", now=NOW)
        assert not fleet.follower.look(NOW)
        assert "allowed_signers" in str(fleet.repository()["hold_reason"])
    assert fleet.versions() == {"app": "1.0.0"}
    signers.write_text(f"ada@acme {ada.public}\neve@acme {eve.public}\n")
    assert fleet.follower.look(NOW)
    assert fleet.versions() == {"app": "6.6.6"}


def test_a_held_commit_is_read_once(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    fleet.commit(app=app("1.0.0"))
    fleet.follower.look(NOW)
    fleet.git("commit", "-q", "--amend", "-m", "another")
    fleet.follower.look(NOW)
    reads: list[str] = []
    monkeypatch.setattr(fleet.follower.repository, "read", reads.append)
    fleet.follower.look(NOW)
    assert reads == []


def test_removing_most_deployments_at_once_is_held(fleet: Fleet) -> None:
    names = ["a", "b", "c"]
    fleet.commit(**{name: app("1.0.0", name) for name in names})
    fleet.follower.look(NOW)
    fleet.commit(a=None, b=None)
    assert not fleet.follower.look(NOW)
    assert set(fleet.versions()) == set(names)
    assert "removes 2 of 3" in str(fleet.repository()["hold_reason"])


def test_the_policy_in_force_before_a_commit_says_how_many_it_may_remove(fleet: Fleet) -> None:
    policy = (
        "apiVersion: towline/v1\nkind: Policy\nmetadata: {name: fleet}\nspec: {maxRemoved: 10%}\n"
    )
    names = ["a", "b", "c", "d", "e"]
    fleet.write("policy.yaml", policy)
    fleet.commit(**{name: app("1.0.0", name) for name in names})
    fleet.follower.look(NOW)
    fleet.write("policy.yaml", policy.replace("10%", "90%"))
    fleet.commit(a=None, b=None)
    assert not fleet.follower.look(NOW)
    assert "removes 2 of 5" in str(fleet.repository()["hold_reason"])


def test_deployments_whose_devices_another_takes_are_not_removed(fleet: Fleet) -> None:
    fleet.commit(**{name: app("1.0.0", name) for name in ("a", "b")})
    fleet.follower.look(NOW)
    renamed = app("1.0.0", "a").replace("{name: a}", "{name: c}")
    replacing = app("1.0.0", "b").replace("{name: b}", "{name: d, replaces: [b]}")
    fleet.commit(a=None, b=None, c=renamed, d=replacing)
    assert fleet.follower.look(NOW)
    assert set(fleet.versions()) == {"c", "d"}


def test_one_removed_deployment_is_gone(fleet: Fleet) -> None:
    fleet.commit(a=app("1.0.0", "a"))
    fleet.follower.look(NOW)
    fleet.commit(a=None)
    assert fleet.follower.look(NOW)
    assert fleet.versions() == {}


def test_an_unreachable_repository_changes_nothing_and_is_named_once(fleet: Fleet) -> None:
    fleet.commit(app=app("1.0.0"))
    fleet.follower.look(NOW)
    fleet.folder.rename(fleet.folder.with_name("away"))
    assert not fleet.follower.look(NOW)
    assert not fleet.follower.look(NOW)
    assert fleet.versions() == {"app": "1.0.0"}
    assert "no repository" in str(fleet.repository()["last_error"])
    with fleet.store.read() as connection:
        kinds = list(connection.execute(select(t.events.c.kind)).scalars())
    assert kinds.count("repository.unreachable") == 1
    fleet.folder.with_name("away").rename(fleet.folder)
    fleet.follower.look(NOW)
    assert fleet.repository()["last_error"] == ""


def test_a_repository_that_moved_keeps_what_is_in_force(fleet: Fleet) -> None:
    fleet.commit(app=app("1.0.0"))
    fleet.follower.look(NOW)
    before = fleet.repository()
    with fleet.store.write() as connection:
        repositories.ensure(connection, ORGANIZATION, "https://new/fleet", "main", "", NOW + 1)
    assert fleet.repository() == before | {"url": "https://new/fleet"}


def test_a_group_that_does_not_load_holds_the_whole_commit(fleet: Fleet) -> None:
    fleet.commit(app=app("1.0.0"))
    fleet.follower.look(NOW)
    group = (
        "apiVersion: towline/v1\nkind: DeviceGroup\nmetadata: {name: g}\n"
        "spec: {filters: {}, nonsense: 1}\n"
    )
    fleet.commit(app=app("2.0.0"), group=group)
    assert not fleet.follower.look(NOW)
    assert fleet.versions() == {"app": "1.0.0"}
    assert "nonsense" in str(fleet.repository()["hold_reason"])


def test_a_root_that_nobody_signed_holds_the_commit(fleet: Fleet) -> None:
    fleet.commit(app=app("1.0.0"))
    fleet.follower.look(NOW)
    fleet.write("trust/root/2.json", ROOT.sign(RELEASE_KEY).decode())
    fleet.commit(app=app("2.0.0"))
    assert not fleet.follower.look(NOW)
    assert "root-version" in str(fleet.repository()["hold_reason"])


@pytest.mark.parametrize(
    ("changed", "is_left"),
    [
        (manifest("2.0.0", "  paused: true\n"), True),
        (manifest("1.0.0"), False),
        (None, False),
    ],
    ids=["another version", "no pause", "removed"],
)
def test_a_resume_over_git_lapses_when_a_commit_changes_the_key(
    fleet: Fleet, changed: str | None, is_left: bool
) -> None:
    fleet.commit(app=manifest("1.0.0", "  paused: true\n"))
    fleet.follower.look(NOW)
    assert fleet.follower.head is not None
    pass_over(fleet.store, fleet.follower.head, "app", NOW, 60)
    with fleet.store.read() as connection:
        run = connection.execute(select(t.runs)).one()
    act(fleet.store, ORGANIZATION, run.id, Verb.RESUME, author="ops", reason="go", now=NOW)
    fleet.commit(app=changed)
    fleet.follower.look(NOW)
    with fleet.store.read() as connection:
        assert (len(connection.execute(select(t.overrides)).all()) == 1) is is_left


@pytest.mark.both_engines
def test_an_author_of_any_length_has_a_run(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path)
    fleet.write("deployments/app.yaml", app("1.0.0"))
    fleet.git("add", "-A")
    author = f"{'Ada ' * 200}<{'a' * 200}@acme.example>"
    fleet.git("commit", "-q", "--author", author, "-m", "a change")
    fleet.follower.look(NOW)
    assert fleet.versions() == {"app": "1.0.0"}
    head = fleet.follower.head
    assert head is not None and len(head.commit.author) < 255
    pass_over(fleet.store, head, "app", NOW, 60)
    with fleet.store.read() as connection:
        assert connection.execute(select(t.runs.c.author)).scalar_one() == head.commit.author
