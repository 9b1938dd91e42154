"""Git has an end: neither a monstrous tree nor a process that hangs keeps anybody waiting."""

import os
import subprocess
from pathlib import Path

import pytest

from towline.manifests import git_run, git_tree
from towline.manifests.git_run import Git, GitFailed
from towline.manifests.repository import Repository
from towline.schemas.problems import Problem

SHA = "a" * 40


@pytest.fixture
def fleet(tmp_path: Path) -> Path:
    """A bare repository."""
    git(tmp_path, "init", "-q", "--bare")
    return tmp_path


def git(folder: Path, *arguments: str, given: str = "") -> str:
    """Run git; what it printed."""
    who = {
        f"GIT_{role}_{what}": "x" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
    }
    done = subprocess.run(
        ["git", *arguments],
        cwd=folder,
        input=given,
        env=os.environ | who,
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip()


def bomb(fleet: Path) -> str:
    """A commit of ten trees; 10,000,000,000 files lie below it, all of them the same."""
    tree = git(fleet, "hash-object", "-w", "--stdin", given="a: 1")
    entry = "100644 blob {}\t{}.yaml\n"
    for _ in range(10):
        lines = "".join(entry.format(tree, n) for n in range(10))
        tree, entry = git(fleet, "mktree", given=lines), "040000 tree {}\t{}\n"
    return git(fleet, "commit-tree", "-m", "A bomb", tree)


def slow_git(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A git program that writes who it is and then does nothing."""
    folder.mkdir()
    (folder / "git").write_text(f'#!/bin/sh\necho $$ > "{folder}/pid"\nexec sleep 600\n')
    (folder / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder / "pid"


def test_a_tree_that_holds_itself_ten_times_at_each_level_is_refused(fleet: Path) -> None:
    with pytest.raises(Problem, match="more than 50000 files"):
        Repository(fleet).read(bomb(fleet))


def test_files_that_towline_does_not_read_are_counted_as_well(
    fleet: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(git_tree, "MAX_LISTED", 1000)
    with pytest.raises(Problem, match="more than 1000 files in all"):
        Repository(fleet).read_files(bomb(fleet), lambda _: False)


def test_a_git_that_hangs_is_ended(
    fleet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pid = slow_git(tmp_path / "programs", monkeypatch)
    monkeypatch.setattr(git_run, "TIMEOUT_S", 0.5)
    repository = Repository(fleet)
    calls = (
        repository.head,
        lambda: repository.commit(SHA),
        lambda: repository.is_ancestor(SHA, SHA),
        lambda: repository.read(SHA),
    )
    for call in calls:
        with pytest.raises(Problem, match="not done within"):
            call()
        with pytest.raises(ProcessLookupError):
            os.kill(int(pid.read_text()), 0)


def test_whoever_has_read_enough_ends_git(fleet: Path) -> None:
    tree = bomb(fleet)
    running = git_run.chunks(Git(fleet), "ls-tree", "-r", "-z", tree)
    assert next(running)
    running.close()
    assert git_run.output(Git(fleet), "cat-file", "-t", tree) == b"commit\n"


def test_what_git_says_when_it_fails_is_kept(fleet: Path) -> None:
    with pytest.raises(GitFailed, match="bad file"):
        git_run.output(Git(fleet), "cat-file", "blob", SHA)
