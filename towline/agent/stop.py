"""The wish to stop: set from a signal handler, noticed by every wait."""

import contextlib
import os
import select
from collections.abc import Callable


class Stop:
    """Set once; a pipe, because a signal handler must not take a lock."""

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._writer, False)
        self._aborts: list[Callable[[], None]] = []

    @property
    def is_set(self) -> bool:
        """Whether somebody wants the agent to stop."""
        return bool(select.select([self._reader], [], [], 0)[0])

    def on_stop(self, abort: Callable[[], None]) -> None:
        """Call `abort` when it is set; it must be fit for a signal handler."""
        self._aborts.append(abort)

    def set(self, *_signal: object) -> None:
        """Stop soon."""
        with contextlib.suppress(BlockingIOError):
            os.write(self._writer, b"x")
        for abort in self._aborts:
            abort()

    def wait(self, seconds: float) -> bool:
        """Wait; True at once when it is set."""
        return bool(select.select([self._reader], [], [], max(0.0, seconds))[0])
