"""A bare mirror of one branch of a repository elsewhere: fetched as a whole, read locally.

`fetch` may be called from a thread of its own; everything else reads what was fetched last. While
the last fetch failed, `head` raises its Problem, and the commits fetched before can be read. What
a force push leaves behind is kept. Only one process uses the folder.

A mirror is a cache: where it may be damaged, it is fetched anew beside the old one and takes its
place. The objects of the old one stay within reach, because a commit in force may be only there.
"""

import hashlib
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from towline.manifests.fetch_problems import fetch_problem, no_branch
from towline.manifests.git_environment import ISOLATION
from towline.manifests.git_problems import Damaged
from towline.manifests.git_program import GitProgram
from towline.manifests.remote import Remote
from towline.manifests.repository import BranchMissing, Commit, Repository
from towline.schemas.problems import Problem

FIRST_FETCH_FACTOR = 10
"""The first fetch brings all of the history and may take so much longer."""
ANEW_REST_S = 3600
"""What a new mirror did not mend is not tried again sooner."""
_FOLLOWED = "refs/towline/followed"
"""One name for every branch: what another branch left behind never is in the way."""


@dataclass(frozen=True, slots=True)
class _Outcome:
    """How the last fetch ended."""

    at: int | None
    """When a fetch last succeeded, seconds since the epoch."""
    problem: Problem | None


class Mirror(Repository):
    """What `Repository` is, of a branch that is fetched from elsewhere."""

    def __init__(
        self,
        remote: Remote,
        mirrors: Path,
        folder: str = "",
        branch: str = "main",
        allowed_signers: Path | None = None,
    ):
        """`mirrors` is the folder that holds one mirror per URL."""
        name = hashlib.sha256(remote.url.encode()).hexdigest()[:16]
        super().__init__(mirrors / f"{name}.git", folder, branch, allowed_signers)
        self.remote = remote
        self._git = replace(self._git, environment={**self._git.environment, **ISOLATION})
        self._outcome = _Outcome(None, Problem(f"{remote.url} was not fetched yet"))
        self._program = GitProgram(remote)
        self._fresh = mirrors / f"{name}.new.git"
        self._former = mirrors / f"{name}.old.git"
        self._in_place = threading.RLock()
        """Held by readers: the mirror is not replaced meanwhile."""
        self._is_doubted = False
        self._begun_anew_at: float | None = None
        self.is_fetch_wanted = threading.Event()
        """Set by whoever knows that the branch has moved; whoever fetches clears it."""
        self._fetched_from: float | None = None
        """When the last fetch that succeeded began, by the monotonic clock."""

    @property
    def source(self) -> str:
        """The URL; no secret is in it."""
        return self.remote.url

    def head(self) -> str | None:
        """As `Repository.head`, at the last fetch; raises its Problem when it failed."""
        if (problem := self._outcome.problem) is not None:
            raise type(problem)(problem.what, remedy=problem.remedy)
        with self._reading():
            return self._run("for-each-ref", "--format=%(objectname)", _FOLLOWED).strip() or None

    def commit(self, sha: str) -> Commit:
        """As `Repository.commit`."""
        with self._reading():
            return super().commit(sha)

    def why_unsigned(self, sha: str) -> str:
        """As `Repository.why_unsigned`."""
        with self._reading():
            return super().why_unsigned(sha)

    def history(self, sha: str, limit: int) -> list[Commit]:
        """As `Repository.history`."""
        with self._reading():
            return super().history(sha, limit)

    def is_ancestor(self, old: str, new: str) -> bool:
        """As `Repository.is_ancestor`."""
        with self._reading():
            return super().is_ancestor(old, new)

    def read_files(self, sha: str, wants: Callable[[str], bool]) -> dict[str, bytes]:
        """As `Repository.read_files`."""
        with self._reading():
            return super().read_files(sha, wants)

    def seen_at(self, now: int) -> int:
        """When the last successful fetch was."""
        return now if self._outcome.at is None else self._outcome.at

    def fetch_soon(self) -> None:
        """As `Repository.fetch_soon`."""
        self.is_fetch_wanted.set()

    def is_fetched_since(self, moment: float) -> bool:
        """As `Repository.is_fetched_since`."""
        return self._fetched_from is not None and self._fetched_from >= moment

    def fetch(self, now: int) -> None:
        """Bring the branch, its history and nothing else; raises Problem, as `head` then does."""
        began = time.monotonic()
        try:
            self._fetch()
        except Problem as problem:
            self._outcome = _Outcome(self._outcome.at, problem)
            raise
        finally:
            self.fetch_s = time.monotonic() - began
        self._outcome = _Outcome(now, None)
        self._fetched_from = began

    def close(self) -> None:
        """End a fetch in progress and begin none."""
        self._program.close()

    @contextmanager
    def _reading(self) -> Iterator[None]:
        with self._in_place:
            try:
                yield
            except Damaged:
                self._is_doubted = True
                raise

    def _fetch(self) -> None:
        last = self._begun_anew_at
        may_begin_anew = last is None or time.monotonic() - last >= ANEW_REST_S
        if not (self._is_doubted and may_begin_anew):
            try:
                self._bring(self.path)
            except Damaged:
                if not may_begin_anew:
                    raise
            else:
                return
        self._begin_anew()

    def _begin_anew(self) -> None:
        """Fetch all of it into a mirror that takes the place of this one; raises Problem."""
        self._begun_anew_at = time.monotonic()
        shutil.rmtree(self._fresh, ignore_errors=True)
        self._bring(self._fresh)
        try:
            # A repository that was emptied meanwhile is no new beginning.
            if self._has_followed(self._fresh):
                self._replace()
        except OSError as error:
            raise Problem(f"{self.path} cannot be replaced: {error.strerror}") from None
        self._is_doubted = False

    def _replace(self) -> None:
        shutil.rmtree(self._former, ignore_errors=True)
        if (self.path / "objects").is_dir():
            within_reach = self._fresh / "objects" / "info" / "alternates"
            within_reach.parent.mkdir(exist_ok=True)
            within_reach.write_text(f"../../{self._former.name}/objects\n")
        with self._in_place:
            self.path.rename(self._former)
            self._fresh.rename(self.path)

    def _bring(self, folder: Path) -> None:
        """Fetch the branch into the mirror in `folder`, which is made where it is missing."""
        self._prepare(folder)
        factor = 1 if self._has_followed(folder) else FIRST_FETCH_FACTOR
        code, said = self._program.run(
            folder,
            *("fetch", "--quiet", "--no-tags", "--no-write-fetch-head"),
            *("--no-recurse-submodules", "--", self.remote.url),
            f"+refs/heads/{self.branch}:{_FOLLOWED}",
            timeout_s=self.remote.timeout_s * factor,
        )
        if code and "couldn't find remote ref" in said:
            self._refuse_missing(folder)
        elif code:
            raise fetch_problem(said, self.remote)
        elif not self._has_followed(folder):
            raise Damaged(f"what was fetched into {folder} cannot be read")

    def _has_followed(self, folder: Path) -> bool:
        arguments = ("rev-parse", "--verify", "--quiet", f"{_FOLLOWED}^{{commit}}")
        return self._program.run(folder, *arguments, timeout_s=self.remote.timeout_s)[0] == 0

    def _prepare(self, folder: Path) -> None:
        """Make the mirror where it is missing; locks are of a process that was ended."""
        try:
            if not self.path.exists() and self._fresh.exists():
                # A server that was cut off while it replaced the one by the other.
                self._fresh.rename(self.path)
            folder.mkdir(parents=True, exist_ok=True)
            for lock in (*folder.glob("*.lock"), *(folder / "refs").rglob("*.lock")):
                lock.unlink()
        except OSError as error:
            raise Problem(f"{folder} cannot be written: {error.strerror}") from None
        if (folder / "HEAD").exists():
            return
        code, said = self._program.run(
            folder,
            *("init", "--quiet", "--bare", "--template="),
            timeout_s=self.remote.timeout_s,
        )
        if code:
            raise Problem(f"git cannot make {folder}: {said.strip()}")

    def _refuse_missing(self, folder: Path) -> None:
        """A repository without any commit is no error; without this branch it is."""
        code, listed = self._program.run(
            folder,
            *("ls-remote", "--heads", "--", self.remote.url),
            timeout_s=self.remote.timeout_s,
            is_output_wanted=True,
        )
        heads = (
            [line.partition("refs/heads/")[2] for line in listed.splitlines()] if not code else []
        )
        if heads or self._has_followed(folder):
            what, remedy = no_branch(self.remote, self.branch, sorted(heads))
            raise BranchMissing(what, remedy=remedy)
