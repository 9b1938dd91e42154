"""What requests bring to be written, and how whoever waits for it is told."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

import structlog
from sqlalchemy import Connection

from towline.schemas.problems import Refused
from towline.schemas.reports import Heard, Report

log = structlog.get_logger()

T = TypeVar("T")

Errand = Callable[[Connection], T]
"""Something to write; raises Refused before it has written anything that must not stay."""

Told = Callable[[Any, Exception | None], None]
"""Is called once, on the loop from which a letter came: with its result, or why there is none."""


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
        """Tell who waits, on its loop."""
        error = self.error or self.refused
        self.told(None if error else self.result, error)


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
        try:
            letter.answer()
        except Exception as error:  # noqa: BLE001 whatever it was, the others get their answers
            log.error("letter.untold", device=letter.device_seq, error=repr(error))
