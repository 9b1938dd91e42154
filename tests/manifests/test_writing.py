"""Writing commits: what gets onto which branch, what a person's copy keeps, how a host refuses."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.manifests.git_server import GitHost
from tests.manifests.hosted import NOW, Fleet, over_https, sprung, trap
from towline.manifests.compare_link import compare_link
from towline.manifests.repository import Repository
from towline.manifests.writing import (
    NewCommit,
    NotWritable,
    Overtaken,
    Signature,
    commit_to_branch,
    commit_to_new_branch,
)

ADA = Signature("Ada", "ada@acme")
TOWLINE = Signature("Towline", "towline@acme")


def new(parent: str, **files: bytes | None) -> NewCommit:
    paths = {f"{name}.yaml": data for name, data in files.items()}
    return NewCommit(parent, paths, "Change it\n", ADA, TOWLINE)


def names(fleet: Fleet, revision: str) -> list[str]:
    return fleet.git("ls-tree", "-r", "--name-only", revision).split()


def test_a_new_branch_leaves_the_copy_as_it_is(hosted: Fleet) -> None:
    parent = hosted.commit("a: 1")
    sha = commit_to_new_branch(Repository(hosted.folder), new(parent, b=b"b: 1\n", a=None), "t/x")
    assert hosted.git("rev-parse", "t/x") == sha
    assert names(hosted, "t/x") == ["b.yaml"]
    assert hosted.git("log", "-1", "--format=%an <%ae>, %cn <%ce>: %s", sha) == (
        "Ada <ada@acme>, Towline <towline@acme>: Change it"
    )
    assert hosted.git("status", "--porcelain") == ""
    assert names(hosted, "main") == ["a.yaml"]
    with pytest.raises(Overtaken):
        commit_to_new_branch(Repository(hosted.folder), new(parent, c=b""), "t/x")


def test_paths_are_those_of_the_fleets_folder(hosted: Fleet) -> None:
    parent = hosted.commit("a: 1")
    commit_to_new_branch(Repository(hosted.folder, "fleets/eu"), new(parent, b=b""), "t/x")
    assert names(hosted, "t/x") == ["a.yaml", "fleets/eu/b.yaml"]


def test_the_branch_that_is_checked_out_is_brought_along_and_keeps_what_is_staged(
    hosted: Fleet,
) -> None:
    parent = hosted.commit("a: 1")
    (hosted.folder / "staged.txt").write_text("mine")
    hosted.git("add", "staged.txt")
    sha = commit_to_branch(Repository(hosted.folder), new(parent, b=b"b: 1\n", a=None))
    assert hosted.git("rev-parse", "main") == sha
    assert hosted.git("status", "--porcelain") == "A  staged.txt"
    assert (hosted.folder / "b.yaml").read_text() == "b: 1\n"
    assert not (hosted.folder / "a.yaml").exists()


def test_a_change_that_was_never_committed_is_not_overwritten(hosted: Fleet) -> None:
    parent = hosted.commit("a: 1")
    (hosted.folder / "a.yaml").write_text("a: mine")
    with pytest.raises(NotWritable, match="never committed"):
        commit_to_branch(Repository(hosted.folder), new(parent, a=b"a: 2"))
    assert hosted.git("rev-parse", "main") == parent
    assert (hosted.folder / "a.yaml").read_text() == "a: mine"


def test_a_branch_that_moved_is_not_moved_back(hosted: Fleet) -> None:
    parent = hosted.commit("a: 1")
    moved = hosted.commit("a: 2")
    with pytest.raises(Overtaken):
        commit_to_branch(Repository(hosted.folder), new(parent, b=b""))
    assert hosted.git("rev-parse", "main") == moved
    assert hosted.git("status", "--porcelain") == ""


def test_a_bare_repository_takes_commits_as_well(hosted: Fleet, tmp_path: Path) -> None:
    parent = hosted.commit("a: 1")
    bare = tmp_path / "bare.git"
    hosted.git("clone", "-q", "--bare", str(hosted.folder), str(bare))
    sha = commit_to_branch(Repository(bare), new(parent, b=b""))
    assert Repository(bare).head() == sha


def test_no_hook_of_the_repository_is_run(hosted: Fleet) -> None:
    parent = hosted.commit("a: 1")
    hooks = hosted.folder / ".git" / "hooks"
    for name in ("reference-transaction", "post-checkout", "pre-commit", "pre-push"):
        (hooks / name).write_text(Path(trap(hosted)).read_text())
        (hooks / name).chmod(0o755)
    commit_to_branch(Repository(hosted.folder), new(parent, b=b""))
    assert not sprung(hosted)


def test_a_branch_is_pushed_with_the_token_that_fetches(hosted: Fleet, host: GitHost) -> None:
    host.logins = {"git:t0ken"}
    hosted.git("config", "http.receivepack", "true")
    parent = hosted.commit("a: 1")
    mirror = hosted.mirror(replace(over_https(host), password="t0ken"))
    mirror.fetch(NOW)
    sha = commit_to_new_branch(mirror, new(parent, b=b""), "towline/x")
    assert hosted.git("rev-parse", "towline/x") == sha


def test_a_host_that_takes_no_push_is_told_apart_from_one_that_is_away(
    hosted: Fleet, host: GitHost
) -> None:
    hosted.git("config", "http.receivepack", "false")
    parent = hosted.commit("a: 1")
    mirror = hosted.mirror(over_https(host))
    mirror.fetch(NOW)
    with pytest.raises(NotWritable, match="not authorised to push") as refused:
        commit_to_new_branch(mirror, new(parent, b=b""), "towline/x")
    assert "leave to write" in refused.value.remedy


def test_a_push_to_a_branch_that_moved_is_told_as_such(hosted: Fleet, tmp_path: Path) -> None:
    parent = hosted.commit("a: 1")
    mirror = hosted.mirror()
    mirror.fetch(NOW)
    hosted.commit("a: 2")
    hosted.git("config", "receive.denyCurrentBranch", "ignore")
    with pytest.raises(Overtaken):
        commit_to_branch(mirror, new(parent, b=b""))


def test_what_a_host_declines_is_told_with_its_reason(hosted: Fleet) -> None:
    parent = hosted.commit("a: 1")
    mirror = hosted.mirror()
    mirror.fetch(NOW)
    hook = hosted.folder / ".git" / "hooks" / "pre-receive"
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    with pytest.raises(NotWritable, match="pre-receive hook declined"):
        commit_to_new_branch(mirror, new(parent, b=b""), "towline/x")


GITHUB = "https://github.com/acme/fleet/compare/main...t/x?expand=1"
GITLAB = "https://gitlab.example.com/a/b/fleet/-/compare/main...t/x"
GITEA = "https://gitea.example.com:3000/a/f"
PLAIN = "https://git.example.com/f"


@pytest.mark.parametrize(
    ("source", "link"),
    [
        ("https://github.com/acme/fleet.git", GITHUB),
        ("git@github.com:acme/fleet.git", GITHUB),
        ("ssh://git@gitlab.example.com:2222/a/b/fleet", GITLAB),
        ("https://codeberg.org/acme/fleet", "https://codeberg.org/acme/fleet/compare/main...t/x"),
        (f"{GITEA}.git", f"{GITEA}/compare/main...t/x"),
        (PLAIN, f"git fetch {PLAIN} t/x && git diff main...FETCH_HEAD"),
        ("/srv/my fleet", "git -C '/srv/my fleet' diff main...t/x"),
        ("file:///srv/fleet", "git fetch file:///srv/fleet t/x && git diff main...FETCH_HEAD"),
    ],
)
def test_a_branch_is_looked_at_where_its_forge_shows_it(source: str, link: str) -> None:
    assert compare_link(source, "main", "t/x") == link
