"""A turn at Python: the loop sleeps while another thread has it, and never for long."""

import asyncio
import threading
import time
from collections.abc import Callable

import pytest

from towline.reconciler.server import turn as turns
from towline.reconciler.server.turn import Turn

AMPLE_S = 5.0


class Rounds:
    """A loop that always has something to do, and counts its rounds."""

    def __init__(self) -> None:
        self.number = 0
        self._is_over = False

    def run_beside(self, work: Callable[[asyncio.AbstractEventLoop], None]) -> None:
        """Go round until the work, which another thread does, is done."""
        asyncio.run(self._go_round(work))

    async def _go_round(self, work: Callable[[asyncio.AbstractEventLoop], None]) -> None:
        loop = asyncio.get_running_loop()
        worker = threading.Thread(target=self._do, args=(work, loop))
        worker.start()
        while not self._is_over:
            self.number += 1
            await asyncio.sleep(0)
        worker.join()

    def _do(
        self, work: Callable[[asyncio.AbstractEventLoop], None], loop: asyncio.AbstractEventLoop
    ) -> None:
        try:
            work(loop)
        finally:
            self._is_over = True


@pytest.fixture
def rounds() -> Rounds:
    return Rounds()


@pytest.fixture
def ample(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of all times, so that none ends by itself."""
    monkeypatch.setattr(turns, "LENT_S", AMPLE_S)
    monkeypatch.setattr(turns, "ASKED_S", AMPLE_S)


@pytest.mark.usefixtures("ample")
def test_the_loop_sleeps_until_the_turn_is_over(rounds: Rounds) -> None:
    found: list[int] = []

    def work(loop: asyncio.AbstractEventLoop) -> None:
        with Turn() as turn:
            turn.take(loop)
            found.append(rounds.number)
            time.sleep(0.05)
            found.append(rounds.number)
        while rounds.number == found[-1]:
            time.sleep(0.001)

    rounds.run_beside(work)
    before, after = found
    assert before == after
    assert rounds.number > after


def test_nobody_sleeps_for_long(rounds: Rounds, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "ASKED_S", AMPLE_S)

    def work(loop: asyncio.AbstractEventLoop) -> None:
        with Turn() as turn:
            turn.take(loop)
            before = rounds.number
            while rounds.number == before:  # for ever, if the loop waited for the end
                time.sleep(0.001)

    rounds.run_beside(work)


def test_who_does_not_get_the_turn_goes_on_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "LENT_S", AMPLE_S)
    ended = threading.Event()

    async def story() -> float:
        loop = asyncio.get_running_loop()

        def work() -> None:
            with Turn() as turn:
                turn.take(loop)
            ended.set()

        worker = threading.Thread(target=work)
        worker.start()
        assert ended.wait(AMPLE_S)  # the loop does nothing else until then
        worker.join()
        began = loop.time()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return loop.time() - began

    # A turn that is over is not lent any more.
    assert asyncio.run(story()) < AMPLE_S / 2


def test_of_a_loop_that_has_ended_no_turn_is_asked() -> None:
    loop = asyncio.new_event_loop()
    loop.close()
    with Turn() as turn:
        turn.take(loop)
