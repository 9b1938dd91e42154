"""Reading real git repositories: branches, commits, files by object id, and clear problems."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.manifests.texts import manifest
from towline.manifests import git_tree
from towline.manifests.git_tree import MAX_FILE_BYTES
from towline.manifests.load import load
from towline.manifests.repository import BranchMissing, Repository, is_fleet_file
from towline.schemas.problems import Problem

_WHO = ["-c", "user.name=Ana Böhm", "-c", "user.email=ana@example.com"]


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", *_WHO, *arguments], cwd=folder, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


@pytest.fixture
def fleet(tmp_path: Path) -> Path:
    """An empty working copy on branch main."""
    folder = tmp_path / "fleet"
    folder.mkdir()
    _git(folder, "init", "-q", "-b", "main")
    return folder


def _commit(folder: Path, files: dict[str, str | bytes], subject: str = "Change") -> str:
    for path, content in files.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    _git(folder, "add", "-A", "-f")
    _git(folder, "commit", "-q", "--allow-empty", "-m", subject)
    return _git(folder, "rev-parse", "HEAD")


def test_a_repository_without_commits_has_no_head(fleet: Path) -> None:
    assert Repository(fleet).head() is None


def test_the_head_follows_the_branch(fleet: Path) -> None:
    repository = Repository(fleet)
    first = _commit(fleet, {"a.yaml": "a: 1"})
    assert repository.head() == first
    second = _commit(fleet, {"a.yaml": "a: 2"})
    assert repository.head() == second
    assert Repository(fleet, branch="main").read(first) == {"a.yaml": b"a: 1"}


def test_a_bare_repository_and_a_folder_inside_a_working_copy_will_do(
    fleet: Path, tmp_path: Path
) -> None:
    head = _commit(fleet, {"deep/a.yaml": "a: 1"})
    _git(tmp_path, "clone", "-q", "--bare", str(fleet), "bare.git")
    for path in (tmp_path / "bare.git", fleet / "deep", fleet / ".git"):
        repository = Repository(path)
        assert repository.head() == head
        assert repository.read(head) == {"deep/a.yaml": b"a: 1"}


def test_another_branch_may_be_followed(fleet: Path) -> None:
    _commit(fleet, {"a.yaml": "a: 1"})
    _git(fleet, "checkout", "-q", "-b", "rollouts/eu")
    head = _commit(fleet, {"a.yaml": "a: 2"})
    assert Repository(fleet, branch="rollouts/eu").head() == head
    assert Repository(fleet, branch="main").head() != head


@pytest.mark.parametrize("branch", ["gone", "--help", "HEAD", "main^{commit}", "a b"])
def test_a_branch_that_is_not_there_is_named_with_those_that_are(fleet: Path, branch: str) -> None:
    _commit(fleet, {"a.yaml": "a: 1"})
    with pytest.raises(BranchMissing, match="has no branch") as missing:
        Repository(fleet, branch=branch).head()
    assert missing.value.remedy.endswith("there are: main")


def test_a_commit_tells_who_what_and_when(fleet: Path) -> None:
    head = _commit(fleet, {}, "Ship 2.4.1 — at last\n\nWith a body.")
    commit = Repository(fleet).commit(head)
    assert (commit.sha, commit.author_name, commit.author_email) == (
        head,
        "Ana Böhm",
        "ana@example.com",
    )
    assert commit.subject == "Ship 2.4.1 — at last"
    assert commit.time == int(_git(fleet, "show", "-s", "--format=%ct"))


def test_the_history_goes_back_from_a_commit_and_takes_each_merge_as_one(fleet: Path) -> None:
    subjects = ["Begin", "Ünï\x0c \u2028 code", "Third"]
    shas = [_commit(fleet, {"a.yaml": subject}, subject) for subject in subjects]
    _git(fleet, "switch", "-q", "-c", "aside", shas[0])
    _commit(fleet, {"b.yaml": "b"}, "Aside")
    _git(fleet, "switch", "-q", "main")
    _git(fleet, "merge", "-q", "--no-ff", "-m", "Merge aside", "aside")
    repository = Repository(fleet)
    head = repository.head()
    assert head is not None
    found = repository.history(head, 10)
    assert [each.subject for each in found] == ["Merge aside", *reversed(subjects)]
    assert [each.sha for each in found] == [head, *reversed(shas)]
    assert [each.sha for each in repository.history(shas[1], 1)] == [shas[1]]
    with pytest.raises(Problem, match="no commit id"):
        repository.history("--all", 1)


def test_ancestry_tells_a_forced_push_from_a_new_commit(fleet: Path) -> None:
    first, second = _commit(fleet, {}, "one"), _commit(fleet, {}, "two")
    _git(fleet, "reset", "-q", "--hard", first)
    other = _commit(fleet, {}, "three")
    repository = Repository(fleet)
    assert repository.is_ancestor(first, second)
    assert repository.is_ancestor(second, second)
    assert not repository.is_ancestor(second, other)
    assert not repository.is_ancestor(second, first)
    assert not repository.is_ancestor("0" * 40, other)


def test_manifests_statements_and_roots_are_read_and_nothing_else(fleet: Path) -> None:
    wanted = {
        "deployments/pos.yaml": "a",
        "groups.yml": "b",
        "releases/system/1.0/x.tar.gz.json": "c",
        "trust/root/1.json": "d",
    }
    others = {
        "README.md": "x",
        "deployments/pos.json": "x",
        ".github/workflows/ci.yaml": "x",
        "releases/notes.yaml": "x",
        "trust/root/old/1.json": "x",
        "trust/keys.json": "x",
    }
    head = _commit(fleet, {**wanted, **others})
    assert Repository(fleet).read(head) == {path: text.encode() for path, text in wanted.items()}


def test_any_files_may_be_read(fleet: Path) -> None:
    head = _commit(fleet, {"towline.toml": "a", "b/towline.toml": "b"})
    repository = Repository(fleet)
    assert repository.read_files(head, lambda path: path == "towline.toml") == {
        "towline.toml": b"a"
    }


def test_a_folder_of_a_repository_is_a_fleet_of_its_own(fleet: Path) -> None:
    head = _commit(fleet, {"eu/deployments/a.yaml": "eu", "us/deployments/a.yaml": "us"})
    assert Repository(fleet, folder="eu").read(head) == {"deployments/a.yaml": b"eu"}
    assert Repository(fleet / "us", folder="/eu/").read(head) == {"deployments/a.yaml": b"eu"}
    with pytest.raises(Problem, match="the commit has no folder asia"):
        Repository(fleet, folder="asia").read(head)


def test_files_come_from_the_commit_and_not_from_the_working_tree(fleet: Path) -> None:
    head = _commit(fleet, {"a.yaml": "committed", ".gitattributes": "*.yaml filter=evil eol=crlf"})
    _git(fleet, "config", "filter.evil.smudge", "touch /nonexistent/evil; cat")
    (fleet / "a.yaml").write_text("edited")
    (fleet / "new.yaml").write_text("not committed")
    assert Repository(fleet).read(head) == {"a.yaml": b"committed"}


def test_links_and_submodules_are_no_files(fleet: Path) -> None:
    secret = fleet.parent / "secret.yaml"
    secret.write_text("secret")
    (fleet / "link.yaml").symlink_to(secret)
    first = _commit(fleet, {"a.yaml": "a"})
    _git(fleet, "update-index", "--add", "--cacheinfo", f"160000,{first},sub.yaml")
    _git(fleet, "commit", "-q", "-m", "A submodule")
    assert Repository(fleet).read(_git(fleet, "rev-parse", "HEAD")) == {"a.yaml": b"a"}


def test_names_and_contents_of_any_kind_arrive_whole(fleet: Path) -> None:
    files: dict[str, str | bytes] = {
        "a b\tc\nd.yaml": "one",
        "ümlaut.yaml": "two",
        "empty.yaml": "",
        "binary.yaml": bytes(range(256)) * 4,
        "ends.yaml": "no line feed",
        "feeds.yaml": "\n\n\n",
    }
    head = _commit(fleet, files)
    read = Repository(fleet).read(head)
    assert read == {
        path: text if isinstance(text, bytes) else text.encode() for path, text in files.items()
    }


def test_a_file_that_is_too_large_is_cut_so_that_its_reader_refuses_it(fleet: Path) -> None:
    text = manifest().encode() + b"#" * (4 * MAX_FILE_BYTES)
    head = _commit(fleet, {"large.yaml": text, "exact.yaml": b"#" * MAX_FILE_BYTES})
    files = Repository(fleet).read(head)
    assert files["large.yaml"] == text[: MAX_FILE_BYTES + 1]
    assert len(files["exact.yaml"]) == MAX_FILE_BYTES
    assert [error.message for error in load(files).errors] == ["the file is larger than 256 KiB"]


def test_too_many_files_are_refused_before_they_are_read(
    fleet: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = _commit(fleet, {f"{n}.yaml": "a" for n in range(4)})
    repository = Repository(fleet)
    assert len(repository.read(head)) == 4
    for limit, value, words in (
        ("MAX_FILES", 3, "more than 3 files"),
        ("MAX_TOTAL_BYTES", 3, "or 3 bytes"),
        ("MAX_LISTED", 3, "more than 3 files in all"),
    ):
        with monkeypatch.context() as changed:
            changed.setattr(git_tree, limit, value)
            with pytest.raises(Problem, match=words):
                repository.read(head)


def test_a_path_without_end_and_an_answer_that_is_none_are_refused() -> None:
    with pytest.raises(Problem, match="a path of more than 64 KiB"):
        list(git_tree._entries(iter([b"100644 blob ", b"a" * (64 * 1024 + 200)])))
    for answer in (b"0000 missing\n", b"0000\n", b"0000 blob 1 more\n"):
        with pytest.raises(Problem, match="lacks an object"):
            dict(git_tree._answers(answer, 1))


def test_thousands_of_files_take_two_runs_of_git(fleet: Path) -> None:
    files: dict[str, str | bytes] = {f"d/{n}.yaml": f"n: {n}" for n in range(2000)}
    head = _commit(fleet, files)
    read = Repository(fleet).read(head)
    assert len(read) == 2000
    assert read["d/1234.yaml"] == b"n: 1234"


def _signed_commit(fleet: Path) -> str:
    """A commit with a signature that somebody's program would be asked to verify."""
    signer = fleet.parent / "signer"
    signer.write_text(
        "#!/bin/sh\ncat >&2\nprintf '\\n[GNUPG:] SIG_CREATED D\\n' >&2\necho signed\n"
    )
    signer.chmod(0o755)
    _commit(fleet, {"a.yaml": "a"})
    _git(fleet, "-c", f"gpg.program={signer}", "commit", "-q", "--amend", "-S", "-m", "Signed")
    assert "gpgsig signed" in _git(fleet, "cat-file", "commit", "HEAD")
    return _git(fleet, "rev-parse", "HEAD")


def test_nothing_that_a_repository_configures_is_run(fleet: Path) -> None:
    head = _signed_commit(fleet)
    ran = fleet.parent / "ran"
    trap = fleet.parent / "trap"
    trap.write_text(f"#!/bin/sh\ntouch {ran}\nexit 1\n")
    trap.chmod(0o755)
    for key in ("core.pager", "core.fsmonitor", "gpg.program", "diff.external", "core.editor"):
        _git(fleet, "config", key, str(trap))
    _git(fleet, "config", "log.showSignature", "true")
    _git(fleet, "config", "alias.show", f"!{trap}")
    _git(fleet, "config", "alias.ls-tree", f"!{trap}")
    for hook in ("post-checkout", "pre-commit", "reference-transaction", "post-index-change"):
        (fleet / ".git" / "hooks" / hook).symlink_to(trap)
    repository = Repository(fleet)
    assert repository.head() == head
    repository.commit(head)
    repository.history(head, 5)
    repository.is_ancestor(head, head)
    repository.read(head)
    assert not ran.exists()


def test_a_replaced_object_does_not_change_what_a_commit_says(fleet: Path) -> None:
    first = _commit(fleet, {"a.yaml": "true"})
    second = _commit(fleet, {"a.yaml": "false"})
    _git(fleet, "replace", first, second)
    assert Repository(fleet).read(first) == {"a.yaml": b"true"}


_CALLS: list[Callable[[Repository], object]] = [
    lambda repository: repository.head(),
    lambda repository: repository.commit("0" * 40),
    lambda repository: repository.is_ancestor("0" * 40, "1" * 40),
    lambda repository: repository.read("0" * 40),
]


@pytest.mark.parametrize("call", _CALLS)
def test_a_missing_repository_is_a_problem_with_a_way_out(
    tmp_path: Path, call: Callable[[Repository], object]
) -> None:
    with pytest.raises(Problem, match="there is no repository at") as missing:
        call(Repository(tmp_path / "gone"))
    assert "--repo" in missing.value.remedy


@pytest.mark.parametrize("call", _CALLS)
def test_a_folder_that_is_no_repository_is_a_problem(
    tmp_path: Path, call: Callable[[Repository], object]
) -> None:
    with pytest.raises(Problem, match="is no git repository"):
        call(Repository(tmp_path))


@pytest.mark.parametrize("call", _CALLS)
def test_a_repository_of_somebody_else_is_a_problem_with_the_line_to_run(
    fleet: Path, monkeypatch: pytest.MonkeyPatch, call: Callable[[Repository], object]
) -> None:
    _commit(fleet, {})
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    with pytest.raises(Problem, match="another user owns it") as refused:
        call(Repository(fleet))
    assert f"safe.directory {fleet}" in refused.value.remedy


@pytest.mark.parametrize("call", _CALLS)
def test_without_the_git_program_the_problem_says_so(
    fleet: Path, monkeypatch: pytest.MonkeyPatch, call: Callable[[Repository], object]
) -> None:
    monkeypatch.setenv("PATH", str(fleet))
    with pytest.raises(Problem, match="the git program is missing"):
        call(Repository(fleet))


@pytest.mark.parametrize("sha", ["0" * 40, "f" * 64])
def test_a_commit_that_is_not_there_is_a_problem(fleet: Path, sha: str) -> None:
    _commit(fleet, {})
    with pytest.raises(Problem, match="lacks a commit"):
        Repository(fleet).commit(sha)
    with pytest.raises(Problem, match="lacks a commit"):
        Repository(fleet).read(sha)
    with pytest.raises(Problem):
        Repository(fleet, allowed_signers=fleet).why_unsigned(sha)


@pytest.mark.parametrize("sha", ["main", "HEAD", "-h", "", "0" * 39, "--output=x"])
def test_only_whole_commit_ids_reach_git(fleet: Path, sha: str) -> None:
    _commit(fleet, {})
    for call in (Repository(fleet).commit, Repository(fleet).read):
        with pytest.raises(Problem, match="is no commit id"):
            call(sha)


def test_a_lost_object_is_a_problem_and_no_removed_file(fleet: Path) -> None:
    head = _commit(fleet, {"a.yaml": "a", "b.yaml": "b"})
    oid = _git(fleet, "rev-parse", "HEAD:a.yaml")
    (fleet / ".git" / "objects" / oid[:2] / oid[2:]).unlink()
    with pytest.raises(Problem, match="lacks an object"):
        Repository(fleet).read(head)


def test_paths_are_told_apart() -> None:
    assert is_fleet_file("a.yaml")
    assert is_fleet_file("releases/a/b/c.json")
    assert not is_fleet_file("releases/a.yaml")
    assert is_fleet_file("trust/root/1.json")
    assert not is_fleet_file("trust/root/1.yaml")
    assert not is_fleet_file("trust/root/old/1.json")
    assert not is_fleet_file("a.json")
