"""A bare mirror of one branch of a repository elsewhere: fetched as a whole, read locally.

`fetch` may be called from a thread of its own; everything else reads what was fetched last. While
the last fetch failed, `head` raises its Problem, and the commits fetched before can be read. What
a force push leaves behind is kept. Only one process uses the folder.
"""

import hashlib
import os
import signal
import subprocess
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path

from towline.manifests.fetch_problems import fetch_problem, no_branch, timed_out
from towline.manifests.git_environment import ISOLATION, fetch_environment
from towline.manifests.remote import Remote
from towline.manifests.repository import BranchMissing, Repository
from towline.schemas.problems import Problem

FIRST_FETCH_FACTOR = 10
"""The first fetch brings all of the history and may take so much longer."""
TERMINATE_S = 2.0
_SAID_BYTES = 16 * 1024


@dataclass(frozen=True, slots=True)
class _Outcome:
    """How the last fetch ended."""

    at: int | None
    """When a fetch last succeeded, seconds since the epoch."""
    problem: Problem | None


class Mirror(Repository):
    """What `Repository` is, of a branch that is fetched from elsewhere."""

    def __init__(self, remote: Remote, mirrors: Path, folder: str = "", branch: str = "main"):
        """`mirrors` is the folder that holds one mirror per URL."""
        name = hashlib.sha256(remote.url.encode()).hexdigest()[:16]
        super().__init__(mirrors / f"{name}.git", folder, branch)
        self.remote = remote
        self._git.update_environment(**ISOLATION)
        self._outcome = _Outcome(None, Problem(f"{remote.url} was not fetched yet"))
        self._process: subprocess.Popen[bytes] | None = None
        self._closed = threading.Event()

    @property
    def source(self) -> str:
        """The URL; no secret is in it."""
        return self.remote.url

    def head(self) -> str | None:
        """As `Repository.head`, at the last fetch; raises its Problem when it failed."""
        if (problem := self._outcome.problem) is not None:
            raise type(problem)(problem.what, remedy=problem.remedy)
        return super().head()

    def seen_at(self, now: int) -> int:
        """When the last successful fetch was."""
        return now if self._outcome.at is None else self._outcome.at

    def fetch(self, now: int) -> None:
        """Bring the branch, its history and nothing else; raises Problem, as `head` then does."""
        try:
            self._fetch()
        except Problem as problem:
            self._outcome = _Outcome(self._outcome.at, problem)
            raise
        self._outcome = _Outcome(now, None)

    def close(self) -> None:
        """End a fetch in progress and begin none."""
        self._closed.set()
        if (process := self._process) is not None:
            _end(process)

    def _fetch(self) -> None:
        environment = fetch_environment(self.remote, self.path)
        self._prepare(environment)
        ref = f"refs/heads/{self.branch}"
        code, said = self._git_program(
            *("fetch", "--quiet", "--no-tags", "--no-write-fetch-head"),
            *("--no-recurse-submodules", "--", self.remote.url, f"+{ref}:{ref}"),
            environment=environment,
            timeout_s=self.remote.timeout_s * (1 if self._fetched() else FIRST_FETCH_FACTOR),
        )
        if code and "couldn't find remote ref" in said:
            self._refuse_missing(environment)
        elif code:
            raise fetch_problem(said, self.remote)

    def _fetched(self) -> str | None:
        """The branch's commit in the mirror."""
        try:
            return super().head()
        except BranchMissing:
            return None

    def _prepare(self, environment: dict[str, str]) -> None:
        """Make the mirror where it is missing; locks are of a process that was ended."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            for lock in (*self.path.glob("*.lock"), *(self.path / "refs").rglob("*.lock")):
                lock.unlink()
        except OSError as error:
            raise Problem(f"{self.path} cannot be written: {error.strerror}") from None
        if (self.path / "HEAD").exists():
            return
        code, said = self._git_program(
            *("init", "--quiet", "--bare", "--template="),
            environment=environment,
            timeout_s=self.remote.timeout_s,
        )
        if code:
            raise Problem(f"git cannot make {self.path}: {said.strip()}")

    def _refuse_missing(self, environment: dict[str, str]) -> None:
        """A repository without any commit is no error; without this branch it is."""
        code, listed = self._git_program(
            *("ls-remote", "--heads", "--", self.remote.url),
            environment=environment,
            timeout_s=self.remote.timeout_s,
            is_output_wanted=True,
        )
        heads = (
            [line.partition("refs/heads/")[2] for line in listed.splitlines()] if not code else []
        )
        if heads or self._fetched():
            what, remedy = no_branch(self.remote, self.branch, sorted(heads))
            raise BranchMissing(what, remedy=remedy)

    def _git_program(
        self,
        *arguments: str,
        environment: dict[str, str],
        timeout_s: int,
        is_output_wanted: bool = False,
    ) -> tuple[int, str]:
        """Run git on the mirror; the exit code, and the end of what it said or printed."""
        with tempfile.TemporaryFile() as told:
            other = subprocess.DEVNULL
            process = self._start(
                arguments,
                environment,
                stdout=told.fileno() if is_output_wanted else other,
                stderr=other if is_output_wanted else told.fileno(),
            )
            try:
                process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                raise timed_out(self.remote, timeout_s) from None
            finally:
                _end(process)
                self._process = None
            told.seek(max(0, told.seek(0, os.SEEK_END) - _SAID_BYTES))
            return process.returncode, told.read().decode("utf-8", "replace")

    def _start(
        self, arguments: tuple[str, ...], environment: dict[str, str], *, stdout: int, stderr: int
    ) -> subprocess.Popen[bytes]:
        if self._closed.is_set():
            raise Problem("the server is stopping")
        try:
            self._process = subprocess.Popen(
                ["git", f"--git-dir={self.path}", *arguments],
                cwd=self.path,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                # A group of its own: what git starts ends with it.
                start_new_session=True,
            )
        except FileNotFoundError:
            raise Problem("the git program is missing", remedy="install git") from None
        if self._closed.is_set():
            _end(self._process)
        return self._process


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process and all that it started; git removes its locks when it is asked to end."""
    if process.poll() is None:
        _signal(process, signal.SIGTERM)
        try:
            process.wait(TERMINATE_S)
        except subprocess.TimeoutExpired:
            _signal(process, signal.SIGKILL)
            process.wait()


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return
