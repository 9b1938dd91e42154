"""A git working copy as commands change it: commits of named paths, and nothing else.

Calls the git program. Never touches what the person has staged, and needs no global identity.
"""

import subprocess
from collections.abc import Sequence
from pathlib import Path

from towline.schemas.problems import Problem

FALLBACK_IDENTITY = {"user.name": "Towline", "user.email": "towline@localhost"}


class WorkingCopy:
    """The folder that holds `.git`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def make(self, branch: str) -> None:
        """Make a repository here, with `branch` as the branch of its first commit."""
        self.git("init", "--quiet", f"--initial-branch={branch}")

    def is_there(self) -> bool:
        """True when a repository begins here."""
        return (self.folder / ".git").exists()

    def branch(self) -> str:
        """The name of the branch that is checked out; raises Problem when there is none."""
        done = self._run("symbolic-ref", "--short", "HEAD")
        if done.returncode:
            raise Problem(
                f"{self.folder} has no branch checked out",
                remedy="check one out first: git switch BRANCH",
            )
        return done.stdout.strip()

    def is_changed(self, paths: Sequence[Path]) -> bool:
        """True when one of `paths` differs from the last commit."""
        return bool(self.git("status", "--porcelain", "--", *map(str, paths)))

    def changed(self, paths: Sequence[Path]) -> list[Path]:
        """Those files at or below `paths` that git knows and that differ from the last commit."""
        names = self.git("diff", "--name-only", "-z", "HEAD", "--", *map(str, paths))
        return [self.folder / name for name in names.split("\0") if name]

    def commit(self, message: str, paths: Sequence[Path]) -> str:
        """Commit `paths` alone; returns the short hash. Raises Problem, with nothing staged."""
        names = [str(path) for path in paths]
        try:
            self.git("add", "--", *names)
            self.git(*self._identity(), "commit", "--quiet", "-m", message, "--", *names)
        except Problem:
            self._run("reset", "--quiet", "--", *names)
            raise
        return self.git("rev-parse", "--short", "HEAD")

    def git(self, *arguments: str) -> str:
        """What one git command prints; raises Problem with git's own words."""
        done = self._run(*arguments)
        if done.returncode:
            verb = next(word for word in arguments if not word.startswith(("-", "user.")))
            said = (done.stderr or done.stdout).strip() or f"exit code {done.returncode}"
            raise Problem(f"git {verb} failed in {self.folder}: {said}")
        return done.stdout.strip()

    def _identity(self) -> list[str]:
        """Fallbacks for what git does not know; GIT_AUTHOR_NAME and the like still win."""
        unknown = [name for name in FALLBACK_IDENTITY if self._run("config", name).returncode]
        return [part for name in unknown for part in ("-c", f"{name}={FALLBACK_IDENTITY[name]}")]

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        try:
            return subprocess.run(
                ["git", "-C", str(self.folder), *arguments],
                capture_output=True,
                text=True,
                check=False,
            )
        except FileNotFoundError:
            raise Problem(
                "the git program is not installed", remedy="apt install git, or your system's way"
            ) from None
