"""What git says when it fails, in words for the person who must act."""

import re
from pathlib import Path

from towline.manifests.git_run import GitFailed
from towline.schemas.problems import Problem

_GONE = re.compile(
    r"not a valid (commit|object) name|bad object|not a tree object|unknown revision", re.IGNORECASE
)


class Damaged(Problem):
    """What git keeps on this machine may be damaged: nothing else is known to be at fault."""


def is_gone(said: str) -> bool:
    """True when git does not know a commit that it was asked about."""
    return _GONE.search(said) is not None


def git_problem(error: GitFailed, path: Path, folder: str) -> Problem:
    """The Problem behind a failed run of git in an existing folder."""
    said = _first_line(error)
    if "dubious ownership" in said:
        return Problem(
            f"git refuses {path}, because another user owns it",
            remedy=f"run `git config --global --add safe.directory {path.resolve()}` as this user",
        )
    if "not a git repository" in said:
        return Damaged(f"{path} is no git repository", remedy="run `towline init` or `git init`")
    if folder and is_gone(said) and f":{folder}" in said:
        return Problem(f"the commit has no folder {folder}", remedy="check --path")
    if is_gone(said):
        return Damaged("the repository lacks a commit that is needed", remedy="fetch it again")
    return Damaged(f"git failed in {path}: {said}", remedy="run `git fsck` there")


def _first_line(error: GitFailed) -> str:
    text = error.said.strip()
    return text.splitlines()[0] if text else "no message"
