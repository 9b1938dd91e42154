"""The commits that a plan compares: which they are, and their files, from git or from the disk."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from towline.cli.settings import Settings
from towline.cli.working_copy import WorkingCopy
from towline.manifests.repository import Repository, is_fleet_file
from towline.schemas.problems import Problem

WORKTREE = "worktree"


@dataclass(frozen=True, slots=True)
class CommitFiles:
    """What Towline reads of one commit; `worktree` for what lies on the disk."""

    commit: str
    files: dict[str, bytes]


@dataclass(frozen=True, slots=True)
class Asked:
    """What a person wrote after `towline plan`."""

    base: str | None
    """A whole commit id; None: what is in force."""
    head: str
    names: tuple[str, ...]


def read_words(settings: Settings, words: Sequence[str]) -> Asked:
    """[BASE] [HEAD] [NAME…]: words that git takes for a commit come first, the rest are names."""
    commits: list[str] = []
    for word in words[:2]:
        found = _commit(settings, word)
        if found is None:
            break
        commits.append(found)
    head = commits[1] if len(commits) > 1 else _commit(settings, "HEAD")
    if head is None:
        WorkingCopy(settings.repository).git("rev-parse", "--git-dir")
        raise Problem(
            f"{settings.repository} has no commit yet",
            remedy="commit first, or plan what lies on the disk with --worktree",
        )
    base = commits[0] if commits else None
    return Asked(base, head, tuple(words[len(commits) :]))


def _commit(settings: Settings, word: str) -> str | None:
    if word.startswith("-"):
        return None
    copy = WorkingCopy(settings.repository)
    try:
        return copy.git("rev-parse", "--verify", "--quiet", f"{word}^{{commit}}")
    except Problem:
        return None


def files_at(settings: Settings, commit: str) -> CommitFiles:
    """The files of a commit."""
    repository = Repository(settings.repository, settings.path, settings.branch)
    return CommitFiles(commit, repository.read(commit))


def files_on_disk(settings: Settings) -> CommitFiles:
    """The files as they lie in the working copy, committed or not."""
    fleet = settings.fleet
    found: dict[str, bytes] = {}
    for file in sorted(fleet.rglob("*")):
        path = file.relative_to(fleet).as_posix()
        if _is_seen(path) and file.is_file() and not file.is_symlink():
            found[path] = file.read_bytes()
    return CommitFiles(WORKTREE, found)


def _is_seen(path: str) -> bool:
    return not any(part.startswith(".") for part in Path(path).parts) and is_fleet_file(path)
