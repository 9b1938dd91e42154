"""A commit written into a repository by its objects, and brought onto one branch.

No working copy is used, so that whatever people do in theirs neither gets into the commit nor
gets lost. Only where a local branch is checked out are the files of that copy brought along, as
git does for a push to it, and nothing is written when changes of its own stand against that.
A repository elsewhere is pushed to with what it is fetched with.
"""

import os
import re
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from towline.manifests.fetch_problems import fetch_problem, timed_out
from towline.manifests.git_environment import fetch_environment
from towline.manifests.mirror import Mirror
from towline.manifests.repository import Repository
from towline.schemas.problems import Problem

LOCAL_TIMEOUT_S = 60
_OWN_PLACES = frozenset(
    {"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR"}
)
"""Variables that would lead git elsewhere."""
_OPTIONS = (
    *("-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false"),
    *("-c", "i18n.commitEncoding=UTF-8"),
)
_OVERTAKEN = re.compile(r"non-fast-forward|fetch first|stale info|cannot lock ref|already exists")
_FORBIDDEN = re.compile(
    r"could not read (username|password)|authentication failed|permission (to .* )?denied"
    r"|returned error: 40[13]|access denied|read.only|not allowed to push",
    re.IGNORECASE,
)


class Overtaken(Problem):
    """The branch moved meanwhile: the same commit can be made on what is there now."""


class NotWritable(Problem):
    """The repository does not take the commit from this server."""


@dataclass(frozen=True, slots=True)
class Signature:
    """Who wrote or made a commit; git leaves out what it cannot hold, such as <."""

    name: str
    address: str


@dataclass(frozen=True, slots=True)
class NewCommit:
    """What a commit changes."""

    parent: str
    """The id of the commit that it is made on."""
    files: Mapping[str, bytes | None]
    """By path in the fleet's folder; None removes."""
    message: str
    author: Signature
    committer: Signature


def commit_to_new_branch(repository: Repository, new: NewCommit, branch: str) -> str:
    """Put the commit on a branch that is not there yet; returns its id.

    Raises Overtaken when there is one of that name, NotWritable, or Problem.
    """
    sha = _make(repository, new)
    if isinstance(repository, Mirror):
        _push(repository, sha, branch)
    else:
        _move(repository, branch, sha, "0" * len(sha))
    return sha


def commit_to_branch(repository: Repository, new: NewCommit) -> str:
    """Put the commit on the branch that the repository follows; returns its id.

    Raises Overtaken when its parent is not the branch's head any more, NotWritable, or Problem.
    """
    sha = _make(repository, new)
    if isinstance(repository, Mirror):
        _push(repository, sha, repository.branch)
        repository.is_fetch_wanted.set()
        return sha
    if repository.head() != new.parent:
        raise Overtaken(f"branch {repository.branch} of {repository.source} moved meanwhile")
    copy = _checked_out(repository)
    if copy is not None:
        _bring_along(copy, new.parent, sha)
    try:
        _move(repository, repository.branch, sha, new.parent)
    except Problem:
        if copy is not None:
            _bring_along(copy, sha, new.parent)
        raise
    return sha


def _make(repository: Repository, new: NewCommit) -> str:
    """The commit as objects, on no branch yet."""
    with tempfile.TemporaryDirectory(prefix="towline-index-") as aside:
        index = {"GIT_INDEX_FILE": str(Path(aside) / "index")}
        _run(repository, "read-tree", new.parent, more=index)
        entries = [_entry(repository, new.parent, *file) for file in sorted(new.files.items())]
        lines = b"".join(entry + b"\0" for entry in entries)
        _run(repository, "update-index", "-z", "--index-info", given=lines, more=index)
        tree = _run(repository, "write-tree", more=index)
    who = {
        "GIT_AUTHOR_NAME": new.author.name,
        "GIT_AUTHOR_EMAIL": new.author.address,
        "GIT_COMMITTER_NAME": new.committer.name,
        "GIT_COMMITTER_EMAIL": new.committer.address,
    }
    message = new.message.encode()
    return _run(repository, "commit-tree", tree, "-p", new.parent, given=message, more=who)


def _entry(repository: Repository, parent: str, path: str, data: bytes | None) -> bytes:
    """One line of the index; the mode 0 takes the path out of it."""
    whole = f"{repository.folder}/{path}" if repository.folder else path
    if data is None:
        return f"0 {'0' * len(parent)}\t{whole}".encode()
    oid = _run(repository, "hash-object", "-w", "--stdin", "--no-filters", given=data)
    return f"100644 {oid}\t{whole}".encode()


def _move(repository: Repository, branch: str, sha: str, former: str) -> None:
    _run(repository, "update-ref", f"refs/heads/{branch}", sha, former)


def _checked_out(repository: Repository) -> Path | None:
    """The working copy that stands on the repository's branch."""
    folder = None
    for line in _run(repository, "worktree", "list", "--porcelain").splitlines():
        word, _, rest = line.partition(" ")
        if word == "worktree":
            folder = Path(rest)
        elif word == "branch" and rest == f"refs/heads/{repository.branch}":
            return folder
    return None


def _bring_along(copy: Path, former: str, sha: str) -> None:
    """Files and index from one commit to the other; git refuses where a person's would be lost."""
    done = _git(copy, _local(), "read-tree", "-m", "-u", former, sha)
    if done.returncode:
        raise NotWritable(
            f"changes that were never committed stand in the way in {copy}: {_gist(done.stderr)}",
            remedy="commit them or put them aside, then try again",
        )


def _run(
    repository: Repository,
    *arguments: str,
    given: bytes = b"",
    more: Mapping[str, str] | None = None,
) -> str:
    if not repository.path.is_dir():
        raise Problem(f"there is no repository at {repository.path}")
    if isinstance(repository, Mirror):
        environment = fetch_environment(repository.remote, repository.path)
    else:
        environment = _local()
    done = _git(repository.path, environment | dict(more or {}), *arguments, given=given)
    if done.returncode:
        raise _failed(repository, arguments[0], done.stderr)
    return done.stdout.decode().strip()


def _local() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in _OWN_PLACES}
    return kept | {"LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0", "GIT_NO_REPLACE_OBJECTS": "1"}


def _git(
    folder: Path,
    environment: Mapping[str, str],
    *arguments: str,
    given: bytes = b"",
    timeout_s: int = LOCAL_TIMEOUT_S,
) -> subprocess.CompletedProcess[bytes]:
    command = ["git", "-C", str(folder), *_OPTIONS, *arguments]
    return subprocess.run(
        command, input=given, capture_output=True, check=False, env=environment, timeout=timeout_s
    )


def _push(mirror: Mirror, sha: str, branch: str) -> None:
    remote = mirror.remote
    arguments = ("push", "--quiet", "--no-verify", "--", remote.url, f"{sha}:refs/heads/{branch}")
    environment = fetch_environment(remote, mirror.path)
    try:
        done = _git(mirror.path, environment, *arguments, timeout_s=remote.timeout_s)
    except subprocess.TimeoutExpired:
        raise timed_out(remote, remote.timeout_s) from None
    if not done.returncode:
        return
    said = done.stderr.decode("utf-8", "replace")
    if _OVERTAKEN.search(said):
        raise Overtaken(f"branch {branch} of {remote.url} moved meanwhile")
    if "[remote rejected]" in said:
        raise NotWritable(f"{remote.url} does not take a push to {branch}: {_refusal(said)}")
    if _FORBIDDEN.search(said):
        raise NotWritable(
            f"not authorised to push to {remote.url}",
            remedy="give the server's token or key leave to write, or commit the manifest yourself",
        )
    raise fetch_problem(said, remote)


def _failed(repository: Repository, verb: str, stderr: bytes) -> Problem:
    said = _gist(stderr)
    if _OVERTAKEN.search(said):
        return Overtaken(f"a branch of {repository.source} moved meanwhile")
    if re.search(r"permission|read-only|insufficient", said, re.IGNORECASE):
        return NotWritable(
            f"the server may not write to {repository.source}: {said}",
            remedy="give its user leave to write there, or commit the manifest yourself",
        )
    return Problem(f"git {verb} failed in {repository.source}: {said}")


def _gist(stderr: bytes) -> str:
    """The first line of what git wrote."""
    lines = stderr.decode("utf-8", "replace").strip().splitlines()
    return lines[0].removeprefix("fatal: ").removeprefix("error: ") if lines else "no message"


def _refusal(said: str) -> str:
    found = re.search(r"\[remote rejected\].*\((.*)\)", said)
    return found[1] if found else "no reason was given"
