"""A fleet repository: what stands in git at a commit, read without touching a working tree.

Knows branches, commits and the files of a folder; knows nothing of what the files say. Runs the
git program for reading objects only: no hook, filter, pager or signature program of the
repository's configuration is started, and nothing is fetched: `mirror` does that.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from towline.manifests.git_problems import git_problem, is_gone
from towline.manifests.git_run import Git, GitFailed, output
from towline.manifests.git_tree import blob_contents, wanted_blobs
from towline.manifests.load import is_manifest_path
from towline.manifests.signatures import readable, why_refused
from towline.schemas.problems import Problem

_SHA = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_ENVIRONMENT = {
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    "LC_ALL": "C",
}
_FORMAT = "%H%x00%an%x00%ae%x00%ct%x00%s"


class BranchMissing(Problem):
    """The repository answers, and the branch is not in it (any more)."""


@dataclass(frozen=True, slots=True)
class Commit:
    """One commit."""

    sha: str
    author_name: str
    author_email: str
    subject: str
    time: int
    """Of the committer, seconds since the epoch."""


class Repository:
    """A working copy or bare repository on this machine, one folder and one branch of it."""

    def __init__(
        self,
        path: Path,
        folder: str = "",
        branch: str = "main",
        allowed_signers: Path | None = None,
    ) -> None:
        """Nothing is read yet: the repository may be away, and come back.

        `allowed_signers` says who may sign the branch's head, as `ssh-keygen` reads it; None: it
        needs no signature.
        """
        self.path = path
        self.folder = folder.strip("/")
        self.branch = branch
        self.allowed_signers = allowed_signers
        self.fetch_s: float | None = None
        """What the last fetch took; None where nothing is fetched."""
        self._git = Git(path, _ENVIRONMENT)

    @property
    def source(self) -> str:
        """Where it is, for people."""
        return str(self.path)

    def seen_at(self, now: int) -> int:
        """When what `head` says was so; here it is so now."""
        return now

    def fetch_soon(self) -> None:
        """Somebody knows that the branch has moved; here nothing is fetched."""

    def is_fetched_since(self, _moment: float) -> bool:
        """Whether what is here was brought by a fetch that began after that monotonic time."""
        return True

    def head(self) -> str | None:
        """The branch's commit; None while nothing was ever committed.

        Raises BranchMissing, or Problem when the repository does not answer.
        """
        # The prefix keeps a branch's name from being read as an option or another revision.
        name = f"refs/heads/{self.branch}"
        refs = self._run("for-each-ref", "--format=%(refname) %(objectname)", "refs/heads/")
        heads = dict(line.split(" ") for line in refs.splitlines())
        if name in heads:
            return heads[name]
        if not heads:
            return None
        listed = ", ".join(sorted(ref.removeprefix("refs/heads/") for ref in heads)[:10])
        raise BranchMissing(
            f"the repository {self.path} has no branch {self.branch}",
            remedy=f"push it, or name another with --branch; there are: {listed}",
        )

    def commit(self, sha: str) -> Commit:
        """Who committed what and when; raises Problem when there is no such commit."""
        text = self._run(
            *("show", "-s", "--no-show-signature", "--no-notes", "--encoding=UTF-8"),
            *(f"--format={_FORMAT}", f"{_checked(sha)}^{{commit}}"),
        )
        return _commit(text.rstrip("\n"))

    def why_unsigned(self, sha: str) -> str:
        """Why a commit does not count as signed; empty when it does, or needs no signature.

        Raises Problem when that cannot be found out.
        """
        if self.allowed_signers is None:
            return ""
        self._require()
        try:
            text = output(self._git, "cat-file", "commit", _checked(sha))
        except GitFailed as error:
            raise self._problem(error) from None
        return why_refused(text, self.allowed_signers)

    def signers_changed_at(self) -> int | None:
        """When those who may sign were last written, in nanoseconds; None when there are none."""
        if self.allowed_signers is None:
            return None
        return readable(self.allowed_signers).stat().st_mtime_ns

    def history(self, sha: str, limit: int) -> list[Commit]:
        """At most `limit` commits from `sha` back, each merge as one; raises Problem."""
        text = self._run(
            *("log", "--first-parent", "--no-show-signature", "--no-notes", "--encoding=UTF-8"),
            *(f"--max-count={limit}", f"--format={_FORMAT}", _checked(sha)),
        )
        # A subject may hold what `splitlines` takes for the end of a line.
        return [_commit(line) for line in text.split("\n") if line]

    def is_ancestor(self, old: str, new: str) -> bool:
        """True when `new` is `old` or descends from it; an `old` that is gone is none."""
        self._require()
        try:
            output(self._git, "merge-base", "--is-ancestor", _checked(old), _checked(new))
        except GitFailed as error:
            if _is_no(error):
                return False
            raise self._problem(error) from None
        return True

    def read(self, sha: str) -> dict[str, bytes]:
        """Manifests, statements and roots at a commit, by their path in the folder."""
        return self.read_files(sha, is_fleet_file)

    def read_files(self, sha: str, wants: Callable[[str], bool]) -> dict[str, bytes]:
        """The files at a commit whose path in the folder `wants` wants.

        Symbolic links and submodules are no files. One of more than MAX_FILE_BYTES comes cut to
        one byte more, so that its reader refuses it without its being held. Raises Problem.
        """
        self._require()
        tree = f"{_checked(sha)}:{self.folder}" if self.folder else _checked(sha)
        try:
            return blob_contents(self._git, wanted_blobs(self._git, tree, wants))
        except GitFailed as error:
            raise self._problem(error) from None

    def _run(self, *arguments: str) -> str:
        self._require()
        try:
            return output(self._git, *arguments).decode("utf-8", "replace")
        except GitFailed as error:
            raise self._problem(error) from None

    def _require(self) -> None:
        """Without its folder, git would be run where this process stands: in another repository."""
        if not self.path.is_dir():
            raise Problem(
                f"there is no repository at {self.path}",
                remedy="check the path given with --repo, and that its disk is mounted",
            )

    def _problem(self, error: GitFailed) -> Problem:
        return git_problem(error, self.path, self.folder)


def _commit(line: str) -> Commit:
    """From a line of _FORMAT."""
    full, name, email, time, subject = line.split("\0", 4)
    return Commit(full, name, email, subject, int(time))


def is_fleet_file(path: str) -> bool:
    """True for what Towline reads of a repository."""
    if path.startswith("releases/"):
        return path.endswith(".json")
    if path.startswith("trust/root/"):
        return path.endswith(".json") and path.count("/") == 2
    return is_manifest_path(path)


def _is_no(error: GitFailed) -> bool:
    """Git's answer no, or an `old` that it does not have (any more)."""
    return error.status == 1 or is_gone(error.said)


def _checked(sha: str) -> str:
    """Whole ids only: nothing else may reach git's grammar of revisions or options."""
    if _SHA.fullmatch(sha) is None:
        raise Problem(f"{sha!r} is no commit id", remedy="give all 40 hex digits")
    return sha
