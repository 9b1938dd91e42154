"""Watching a repository on this machine, so that a commit is seen at once."""

import threading
from collections.abc import Callable
from pathlib import Path

from watchfiles import Change, watch

WATCH_PAUSE_MS = 500
"""After so long without a change the watch of a working copy is known to have begun."""


def watching_thread(
    repository: Path, stopping: threading.Event, on_moved: Callable[[], None]
) -> threading.Thread:
    """A thread that calls `on_moved` whenever a branch may have moved, until `stopping` is set."""
    return threading.Thread(target=_watch, args=(repository, stopping, on_moved), name="watch-git")


def _watch(repository: Path, stopping: threading.Event, on_moved: Callable[[], None]) -> None:
    git = repository / ".git"
    folder = git if git.is_dir() else repository
    has_begun = False
    for changes in watch(
        folder,
        watch_filter=_is_branch,
        stop_event=stopping,
        debounce=200,
        step=50,
        rust_timeout=WATCH_PAUSE_MS,
        yield_on_timeout=True,
    ):
        # A commit between the first look and the begin of the watch was told to nobody.
        if changes or not has_begun:
            on_moved()
        has_begun = True


def _is_branch(_change: Change, path: str) -> bool:
    """True for what moves when a branch moves; the store's own files may lie near by."""
    return "/refs/heads" in path or path.endswith(("/packed-refs", "/HEAD"))
