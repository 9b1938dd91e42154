"""What requests bring to be written, and how whoever waits for it is told."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from towline.schemas.problems import Refused
from towline.schemas.reports import Heard, Report

PATIENCE_S = 10.0
"""Nobody waits longer for his answer, and up to the next sweep: whoever writes may have to wait for
a database that has fallen silent, or for another process' long transaction."""
SWEEP_S = 1.0

log = structlog.get_logger()

T = TypeVar("T")

Errand = Callable[[Connection], T]
"""Something to write; raises Refused before it has written anything that must not stay."""

Told = Callable[[Any, Exception | None], None]
"""Is called once, on the loop from which a letter came: with its result, or why there is none."""


class Overdue(PoolTimeoutError):
    """One of `engine.AWAY`: it may not be written any more, and is to be sent again."""


@dataclass(slots=True)
class Letter:
    """What one request brings, and who waits for it: reports of a device, or an errand."""

    loop: asyncio.AbstractEventLoop
    told: Told
    device_seq: int = 0
    reports: Sequence[Report] = ()
    errand: Errand[Any] | None = None
    result: Any = None
    refused: Refused | None = None
    error: Exception | None = None
    posted_at: float = 0.0
    """By the clock of its loop."""
    is_answered: bool = False

    def run(self, connection: Connection, heard: Mapping[int, Heard]) -> None:
        """Do the errand, if there is one; whoever is refused is told so, and spoils nothing.

        Who brought reports gets to know up to where the device is heard.
        """
        self.result, self.refused = heard.get(self.device_seq), None
        if self.errand is not None:
            try:
                self.result = self.errand(connection)
            except Refused as refused:
                self.refused = refused

    def answer(self) -> None:
        """Tell who waits, on its loop, unless that was told already that it takes too long."""
        if not self.is_answered:
            self.is_answered = True
            error = self.error or self.refused
            self.told(None if error else self.result, error)

    def give_up(self) -> None:
        """Tell who waits that it takes too long, whatever becomes of it."""
        self.is_answered = True
        self.told(None, Overdue("the store is too slow: nothing was written for long"))


class Waiting:
    """Letters that wait for their answers, in the order in which they came; of one loop's thread.

    One timer for all of them, and none while nobody waits.
    """

    def __init__(self) -> None:
        self._letters: deque[Letter] = deque()
        self._swept: asyncio.AbstractEventLoop | None = None
        """The loop on which the timer runs."""

    def add(self, letter: Letter) -> None:
        """Let it not wait for ever."""
        letters, loop = self._letters, letter.loop
        letter.posted_at = loop.time()
        while letters and letters[0].is_answered:
            letters.popleft()
        letters.append(letter)
        if self._swept is not loop:
            self._swept = loop
            loop.call_later(SWEEP_S, self._sweep, loop)

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        letters, late = self._letters, loop.time() - PATIENCE_S
        number = 0
        while letters and (letters[0].is_answered or letters[0].posted_at <= late):
            letter = letters.popleft()
            if not letter.is_answered:
                number += 1
                _tell(letter, letter.give_up)
        if number:
            log.error("letters.overdue", number=number)
        if letters:
            loop.call_later(SWEEP_S, self._sweep, loop)
        else:
            self._swept = None


def settle(answered: "asyncio.Future[Any]", result: Any, error: Exception | None) -> None:
    """One who was cancelled meanwhile is not told."""
    if answered.done():
        return
    if error is None:
        answered.set_result(result)
    else:
        answered.set_exception(error)


def tell(letters: Sequence[Letter]) -> None:
    """One call for all letters of a loop, however many they are."""
    for loop in {letter.loop for letter in letters}:
        own = [letter for letter in letters if letter.loop is loop]
        with suppress(RuntimeError):  # the loop has ended, and with it whoever waited there
            loop.call_soon_threadsafe(_answer, own)


def _answer(letters: Iterable[Letter]) -> None:
    for letter in letters:
        _tell(letter, letter.answer)


def _tell(letter: Letter, how: Callable[[], None]) -> None:
    try:
        how()
    except Exception as error:  # noqa: BLE001 whatever it was, the others get their answers
        log.error("letter.untold", device=letter.device_seq, error=repr(error))
