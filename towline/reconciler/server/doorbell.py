"""The devices' doorbell: parked polls sleep here until something changes for their device.

Everything but `ring` belongs to the event loop's thread; `ring` may be called from any.
"""

import asyncio
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Protocol

import structlog

log = structlog.get_logger()

AT_ONCE = 500
"""More devices than this are rung one slice after the other, while the server keeps up."""
AT_LEAST = 2
"""So many are rung even while it does not: everybody's turn comes."""
PACE_S = 0.02


class Sleeper(Protocol):
    """Whoever sleeps until the bell rings."""

    def wake(self) -> None:
        """It rang, or all is closed."""


class Doorbell:
    """One number per device, which each ring raises, and the polls that wait for it to rise."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._rings: dict[int, int] = {}
        self._parked: dict[int, tuple[Sleeper, ...]] = {}
        self._owed: dict[int, None] = {}
        """Whose bells are to ring, in order."""
        self.is_closed = False
        self.is_busy: Callable[[], bool] = lambda: False
        """Whether those who were rung keep the server at work: the next ones wait."""

    @property
    def parked(self) -> int:
        """How many devices wait."""
        return len(self._parked)

    def open(self) -> None:
        """Take the running loop; called once, before the first request."""
        self._loop = asyncio.get_running_loop()

    def ring(self, device_seqs: Iterable[int]) -> None:
        """Something changed for these devices, and the change is committed."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._ring, list(device_seqs))

    def count(self, device_seq: int) -> int:
        """How often it rang; what was read before a rise is stale after it."""
        return self._rings.get(device_seq, 0)

    def park(self, device_seq: int, sleeper: Sleeper) -> None:
        """Wake the sleeper at the next ring; it leaves by itself, then or before."""
        self._parked[device_seq] = (*self._parked.get(device_seq, ()), sleeper)

    def leave(self, device_seq: int, sleeper: Sleeper) -> None:
        """It sleeps no longer."""
        left = tuple(each for each in self._parked.pop(device_seq, ()) if each is not sleeper)
        if left:
            self._parked[device_seq] = left

    async def wait(self, device_seq: int, seen: int, timeout_s: float) -> None:
        """Sleep until it rang more often than `seen`, or the time is over, or all is closed."""
        if self.is_closed or self.count(device_seq) != seen:
            return
        bell = _Bell()
        self.park(device_seq, bell)
        try:
            await asyncio.wait([bell.rung], timeout=timeout_s)
        finally:
            self.leave(device_seq, bell)

    def close(self) -> None:
        """Answer every parked poll: the server ends."""
        self.is_closed = True
        # Not before the connections know that they end: their answers say so.
        asyncio.get_running_loop().call_soon(self._wake, list(self._parked))

    def _ring(self, device_seqs: list[int]) -> None:
        if len(device_seqs) <= AT_ONCE:
            self._ring_now(device_seqs)
            return
        # Thousands who ask at once would wait for each other until their patience ends.
        is_under_way = bool(self._owed)
        self._owed |= dict.fromkeys(device_seqs)
        if not is_under_way:
            self._ring_next()

    def _ring_next(self) -> None:
        try:
            count = AT_LEAST if self.is_busy() else AT_ONCE
            self._ring_now(list(islice(self._owed, count)))
        finally:
            # Whatever went wrong, the others' turn comes: nobody else would begin with them.
            if self._owed and not self.is_closed:
                asyncio.get_running_loop().call_later(PACE_S, self._ring_next)

    def _ring_now(self, device_seqs: list[int]) -> None:
        for seq in device_seqs:
            self._owed.pop(seq, None)
            self._rings[seq] = self.count(seq) + 1
        self._wake(device_seqs)

    def _wake(self, device_seqs: list[int]) -> None:
        for seq in device_seqs:
            for sleeper in self._parked.get(seq, ()):
                try:
                    sleeper.wake()
                except Exception as error:  # noqa: BLE001 whatever it was, the others are woken
                    log.error("doorbell.unheard", device=seq, error=repr(error))


class _Bell:
    """Sleeps in a task's place."""

    def __init__(self) -> None:
        self.rung: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def wake(self) -> None:
        """It rang."""
        if not self.rung.done():
            self.rung.set_result(None)
