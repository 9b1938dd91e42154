"""The git program on a mirror, where it may talk to the other side: it can be ended at any time.

It runs in a group of processes of its own, in the environment of `git_environment`, and has until
a deadline.
"""

import os
import signal
import subprocess
import tempfile
import threading
from pathlib import Path

from towline.manifests.fetch_problems import timed_out
from towline.manifests.git_environment import fetch_environment
from towline.manifests.remote import Remote
from towline.schemas.problems import Problem

TERMINATE_S = 2.0
_SAID_BYTES = 16 * 1024


class GitProgram:
    """Runs git for one remote; `close` may be called from any thread."""

    def __init__(self, remote: Remote) -> None:
        self._remote = remote
        self._process: subprocess.Popen[bytes] | None = None
        self._closed = threading.Event()

    def close(self) -> None:
        """End what runs and begin nothing more."""
        self._closed.set()
        if (process := self._process) is not None:
            _end(process)

    def run(
        self, folder: Path, *arguments: str, timeout_s: int, is_output_wanted: bool = False
    ) -> tuple[int, str]:
        """Run git on the repository in `folder`: the exit code, and the end of what it said.

        With `is_output_wanted` the end of what it printed instead. Raises Problem.
        """
        with tempfile.TemporaryFile() as told:
            other = subprocess.DEVNULL
            process = self._start(
                folder,
                arguments,
                stdout=told.fileno() if is_output_wanted else other,
                stderr=other if is_output_wanted else told.fileno(),
            )
            try:
                process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                raise timed_out(self._remote, timeout_s) from None
            finally:
                _end(process)
                self._process = None
            told.seek(max(0, told.seek(0, os.SEEK_END) - _SAID_BYTES))
            return process.returncode, told.read().decode("utf-8", "replace")

    def _start(
        self, folder: Path, arguments: tuple[str, ...], *, stdout: int, stderr: int
    ) -> subprocess.Popen[bytes]:
        environment = fetch_environment(self._remote, folder)
        if self._closed.is_set():
            raise Problem("the server is stopping")
        try:
            self._process = subprocess.Popen(
                ["git", f"--git-dir={folder}", *arguments],
                cwd=folder,
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
