"""The letterbox: letters wait in it, and the event loop calls the writing thread to collect them.

The thread waits without Python's lock until it is called: to be woken by each letter beside a busy
loop it would have to wait for the lock each time, and the loop would lose time to it at each of its
calls. While letters come in each round of the loop, it is not called, so that a flush grows with
what the loop has to do; the first round that brings none, or enough of them, ends that.
"""

import asyncio
import queue
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from towline.reconciler.server.letters import Letter
from towline.reconciler.server.turn import WORTH_A_TURN, Turn

ROUNDS = 6
"""So many rounds of the loop letters wait for others at most."""


class Letterbox:
    """One thread, the loop's, puts letters in, and another one collects them.

    They share no lock: what one puts down and the other takes up is a step of Python's each. A poll
    would wait for a thread that waits itself for its turn, with the lock in its hand.
    """

    def __init__(self, *, enough: int, is_lending: Callable[[], bool] | None) -> None:
        """`enough`: so many letters are collected at once, and are not kept waiting for others.

        `is_lending`: whether the loop is to sleep while they are written, asked whenever there are
        many of them. None: it never is, and who is at work need not be called to go on.
        """
        self._enough = enough
        self._letters: deque[Letter] = deque()
        self._calls: queue.SimpleQueue[Turn | None] = queue.SimpleQueue()
        """None: something else is to be looked after."""
        self._is_lending = is_lending
        self._is_waiting = False
        """The other thread waits to be called."""
        self._is_watched = False
        """The loop looks at each round's end what came."""
        self.loop: asyncio.AbstractEventLoop | None = None
        """From which the letters come, once there was one."""

    def __len__(self) -> int:
        return len(self._letters)

    def put(self, letter: Letter) -> None:
        """Let it be collected."""
        self.loop = letter.loop
        self._letters.append(letter)
        if self._is_waiting:
            self._watch()

    def nudge(self) -> None:
        """Let who waits look after something else than letters; from any thread."""
        self._calls.put(None)

    def wait(self, seconds: float) -> Turn | None:
        """Until it is time to collect letters, at most so long; None: there was a nudge.

        The turn is lent with the call, or may still be asked for.
        """
        if self._is_lending is None and self._letters:
            return Turn()
        self._is_waiting = True
        # Who put in a letter and saw that nobody waited yet relies on its being seen now.
        if self._letters and self.loop is not None:
            with suppress(RuntimeError):  # the loop has ended
                self.loop.call_soon_threadsafe(self._watch)
        try:
            return self._calls.get(timeout=max(0.0, seconds))
        except queue.Empty:
            return Turn()
        finally:
            self._is_waiting = False

    def collect(self, limit: int) -> list[Letter]:
        """The letters that came first, so many at most."""
        letters: list[Letter] = []
        with suppress(IndexError):
            while len(letters) < limit:
                letters.append(self._letters.popleft())
        return letters

    def _watch(self) -> None:
        if not self._is_watched:
            self._is_watched = True
            self._look(0, ROUNDS)

    def _look(self, before: int, rounds: int) -> None:
        assert self.loop is not None
        number = len(self._letters)
        if before < number < self._enough and rounds:
            # The next but one of the loop's steps: what comes in is read between the two.
            self.loop.call_soon(self.loop.call_soon, self._look, number, rounds - 1)
        else:
            self._is_watched = False
            if number and self._is_waiting:
                self._call(number)

    def _call(self, number: int) -> None:
        self._is_waiting = False
        turn, is_worth_it = Turn(), min(number, self._enough) >= WORTH_A_TURN
        if is_worth_it and self._is_lending is not None and self._is_lending():
            turn.promise()
            self._calls.put(turn)
            turn.lend()
        else:
            self._calls.put(turn)
