"""A turn at Python for a thread at the store: the event loop's thread sleeps meanwhile.

Both need Python's one lock, and who waits for it is woken in vain each time that the other lets go
of it for an instant, as a busy loop does after each call and SQLite's driver at each row. One turn
for all that is written or read at once costs the loop what that takes, and no more.
"""

import asyncio
import threading
from contextlib import suppress
from typing import Self

LENT_S = 0.02
"""So long the loop sleeps at most: nobody's poll waits for a slow disk or a long errand.

A full flush takes 6 to 10 ms beside a full loop, and both would wait for each other at its end."""
ASKED_S = 0.06
"""Who does not get the turn by then goes on without, as he can at any time."""
WORTH_A_TURN = 8
"""Devices: to put the loop to sleep and to wake it takes as long as to write or read some few."""


class Turn:
    """One turn; it ends with the block, or before."""

    def __init__(self) -> None:
        self._granted = threading.Semaphore(0)
        self._ended = threading.Semaphore(0)
        self._is_promised = False
        self._is_over = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        """Let the loop go on."""
        self._is_over = True
        self._ended.release()

    def take(self, loop: asyncio.AbstractEventLoop) -> None:
        """Wait until the loop sleeps; called once, by another thread than the loop's."""
        if self._is_promised:
            return
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(self.lend)
            self._granted.acquire(timeout=ASKED_S)

    def promise(self) -> None:
        """Nobody need ask for it: the loop lends it next."""
        self._is_promised = True

    def lend(self) -> None:
        """Sleep until it is over; called by the loop."""
        if not self._is_over:
            self._granted.release()
            self._ended.acquire(timeout=LENT_S)
