"""Fetching a remote branch in a thread of its own: a slow host delays no pass.

It is fetched at an interval, and at once when it is known to have moved.
"""

import threading
import time
from collections.abc import Callable
from contextlib import suppress

import structlog

from towline.manifests.mirror import Mirror
from towline.schemas.problems import Problem

log = structlog.get_logger()


class Fetching:
    """Owns the thread; how each fetch ended is asked of the mirror."""

    def __init__(
        self,
        mirror: Mirror,
        interval_s: int,
        clock: Callable[[], float] = time.time,
        on_fetched: Callable[[], None] = lambda: None,
    ) -> None:
        """`on_fetched` is called after each fetch that succeeded."""
        self._mirror = mirror
        self._interval_s = interval_s
        self._clock = clock
        self._on_fetched = on_fetched
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="fetch-git")

    def start(self) -> None:
        """Fetch from one interval on: the caller made the first fetch."""
        self._thread.start()

    def stop(self) -> None:
        """End, with a fetch in progress."""
        self._stopping.set()
        self._mirror.is_fetch_wanted.set()
        self._mirror.close()
        self._thread.join()

    def _run(self) -> None:
        while True:
            self._mirror.is_fetch_wanted.wait(self._interval_s)
            self._mirror.is_fetch_wanted.clear()
            if self._stopping.is_set():
                return
            try:
                # What fails is asked of the mirror, and told once for each outage.
                with suppress(Problem):
                    self._mirror.fetch(int(self._clock()))
                    self._on_fetched()
            except Exception:
                # A bug must be loud and must not end the fetching.
                log.exception("git.failed")
