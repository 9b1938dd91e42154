"""Mirroring from real git hosts: what is fetched, what stays, what a person is told."""

import os
import shutil
import subprocess
import threading
from dataclasses import replace

import pytest

from tests.manifests.git_server import GitHost
from tests.manifests.hosted import NOW, Fleet, failure, over_https
from towline.manifests.fetch_problems import fetch_problem
from towline.manifests.git_environment import fetch_environment
from towline.manifests.git_run import output
from towline.manifests.remote import Remote
from towline.manifests.repository import BranchMissing
from towline.schemas.problems import Problem


def test_each_fetch_brings_the_branch_and_its_history(hosted: Fleet, host: GitHost) -> None:
    first = hosted.commit("a: 1")
    mirror = hosted.mirror(over_https(host))
    mirror.fetch(NOW)
    assert mirror.head() == first
    second = hosted.commit("a: 2")
    mirror.fetch(NOW + 1)
    assert mirror.head() == second
    assert mirror.is_ancestor(first, second)
    assert mirror.read(first) == {"a.yaml": b"a: 1"}
    assert mirror.seen_at(NOW + 99) == NOW + 1


def test_a_mirror_that_was_never_fetched_says_so(hosted: Fleet) -> None:
    with pytest.raises(Problem, match="was not fetched yet"):
        hosted.mirror().head()


def test_a_repository_without_commits_has_no_head(hosted: Fleet) -> None:
    mirror = hosted.mirror()
    mirror.fetch(NOW)
    assert mirror.head() is None


def test_a_force_push_is_fetched_and_what_it_left_behind_stays(hosted: Fleet) -> None:
    kept = hosted.commit("a: 1")
    hosted.git("commit", "-q", "--amend", "-m", "another")
    pushed = hosted.git("rev-parse", "HEAD")
    hosted.git("branch", "old", kept)
    hosted.mirror(branch="old").fetch(NOW)
    hosted.git("branch", "-f", "old", pushed)
    mirror = hosted.mirror(branch="old")
    mirror.fetch(NOW)
    for loose in mirror.path.glob("objects/??/*"):
        os.utime(loose, (10**9, 10**9))
    subprocess.run(
        ["git", f"--git-dir={mirror.path}", "gc", "--quiet"],
        env=fetch_environment(mirror.remote, mirror.path),
        check=True,
    )
    assert mirror.head() == pushed
    assert not mirror.is_ancestor(kept, pushed)
    assert mirror.read(kept) == {"a.yaml": b"a: 1"}


def test_a_deleted_branch_is_a_problem_and_its_commits_stay(hosted: Fleet) -> None:
    head = hosted.commit("a: 1")
    hosted.git("branch", "eu")
    mirror = hosted.mirror(branch="eu")
    mirror.fetch(NOW)
    hosted.git("branch", "-D", "eu")
    missing = failure(mirror)
    assert isinstance(missing, BranchMissing)
    assert "has no branch eu" in missing.what
    assert missing.remedy.endswith("there are: main")
    assert mirror.read(head) == {"a.yaml": b"a: 1"}
    assert mirror.seen_at(NOW + 99) == NOW
    hosted.git("branch", "eu")
    mirror.fetch(NOW + 9)
    assert mirror.head() == head


def test_a_repository_that_was_emptied_is_a_problem_and_no_new_beginning(hosted: Fleet) -> None:
    hosted.commit("a: 1")
    mirror = hosted.mirror()
    mirror.fetch(NOW)
    shutil.rmtree(hosted.folder / ".git")
    hosted.git("init", "-q", "-b", "main")
    assert "there are: none" in failure(mirror).remedy


def test_each_url_has_a_mirror_of_its_own(hosted: Fleet, host: GitHost) -> None:
    assert hosted.mirror().path != hosted.mirror(over_https(host)).path
    assert hosted.mirror().path == hosted.mirror().path


def test_a_repository_that_is_not_there_is_named(hosted: Fleet, host: GitHost) -> None:
    assert "no repository at" in failure(hosted.mirror(over_https(host, "gone"))).what
    missing = Remote("file:///nonexistent/hosted.git")
    assert "no repository at" in failure(hosted.mirror(missing)).what


@pytest.mark.parametrize(
    "remote",
    [
        Remote("https://127.0.0.1:1/fleet"),
        Remote("https://git.invalid/fleet"),
        Remote("ssh://git@127.0.0.1:1/fleet"),
    ],
)
def test_a_host_that_does_not_answer_is_named(hosted: Fleet, remote: Remote) -> None:
    away = failure(hosted.mirror(remote))
    assert away.what == f"cannot reach {remote.host}"
    assert "repository.url" in away.remedy


def test_the_name_of_a_host_is_not_the_cause() -> None:
    remote = Remote("https://proxy.example.com/permission-denied")
    said = f"fatal: unable to access '{remote.url}/': Could not resolve host: {remote.host}"
    assert fetch_problem(said, remote).what == "cannot reach proxy.example.com"


def test_what_nobody_foresaw_is_told_in_gits_words_and_without_what_a_terminal_obeys() -> None:
    said = "remote: x\nfatal: odd\x1b[31m at https://ada:s3cret@h/f\nmore"
    odd = fetch_problem(said, Remote("https://h/f"))
    assert odd.what == "git cannot fetch from https://h/f: fatal: odd[31m at https://h/f"


def test_a_silent_host_is_given_up_after_the_deadline(hosted: Fleet, host: GitHost) -> None:
    head = hosted.commit("a: 1")
    mirror = hosted.mirror(replace(over_https(host), timeout_s=5))
    mirror.fetch(NOW)
    host.is_silent = True
    assert "within 5 seconds" in failure(mirror).what
    host.is_silent = False
    mirror.fetch(NOW)
    assert mirror.head() == head


def test_closing_ends_a_fetch_in_progress(hosted: Fleet, host: GitHost) -> None:
    host.is_silent = True
    mirror = hosted.mirror(over_https(host))
    failures: list[Problem] = []

    def fetch() -> None:
        failures.append(failure(mirror))

    thread = threading.Thread(target=fetch)
    thread.start()
    while not host.asked:
        threading.Event().wait(0.01)
    mirror.close()
    thread.join(30)
    assert not thread.is_alive()
    assert failures


def test_locks_of_a_fetch_that_was_cut_off_do_not_stop_the_next(hosted: Fleet) -> None:
    hosted.commit("a: 1")
    mirror = hosted.mirror()
    mirror.fetch(NOW)
    head = hosted.commit("a: 2")
    (mirror.path / "refs" / "towline" / "followed.lock").touch()
    (mirror.path / "packed-refs.lock").touch()
    mirror.fetch(NOW)
    assert mirror.head() == head


def test_tags_other_branches_and_submodules_stay_away(hosted: Fleet) -> None:
    head = hosted.commit("a: 1")
    hosted.git("tag", "v1")
    hosted.git("branch", "other")
    hosted.git("update-index", "--add", "--cacheinfo", f"160000,{head},sub.yaml")
    hosted.git("commit", "-q", "-m", "A submodule")
    mirror = hosted.mirror()
    mirror.fetch(NOW)
    found = output(mirror._git, "for-each-ref", "--format=%(refname)")
    assert found == b"refs/towline/followed\n"
    assert mirror.read(str(mirror.head())) == {"a.yaml": b"a: 1"}


def test_a_repository_of_somebody_else_is_named(
    hosted: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    hosted.commit("a: 1")
    real = shutil.which("git")
    assert real is not None
    programs = hosted.folder.parent.parent / "programs"
    programs.mkdir()
    (programs / "git").write_text(
        f'#!/bin/sh\nGIT_TEST_ASSUME_DIFFERENT_OWNER=1 exec {real} "$@"\n'
    )
    (programs / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    assert "another user owns it" in failure(hosted.mirror()).what


def test_without_the_git_program_the_problem_says_so(
    hosted: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(hosted.mirrors))
    assert "git program is missing" in failure(hosted.mirror()).what
