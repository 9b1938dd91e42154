"""The letterbox: when the writing thread is called, and that no letter is forgotten in it."""

import asyncio
import queue
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import pytest

from towline.reconciler.server.letterbox import ROUNDS, Letterbox
from towline.reconciler.server.letters import Letter
from towline.reconciler.server.turn import WORTH_A_TURN, Turn

ENOUGH = 20
AMPLE_S = 30.0


class Collector:
    """A thread that collects whenever it is called, and goes on when it may."""

    def __init__(self, box: Letterbox) -> None:
        self.box = box
        self.collected: queue.SimpleQueue[int] = queue.SimpleQueue()
        """How many letters, each time."""
        self.may_go_on = threading.Semaphore(0)
        self._is_over = False
        self._thread = threading.Thread(target=self._run)

    @contextmanager
    def at_work(self) -> Iterator[None]:
        self._thread.start()
        try:
            yield
        finally:
            self._is_over = True
            self.may_go_on.release(100)
            self.box.nudge()
            self._thread.join()

    def _run(self) -> None:
        while True:
            turn = self.box.wait(AMPLE_S)
            if self._is_over:
                return
            if turn is not None:
                with turn:
                    self.collected.put(len(self.box.collect(ENOUGH)))
                self.may_go_on.acquire()


def letter() -> Letter:
    return Letter(asyncio.get_running_loop(), lambda *_: None)


async def collected(by: Collector) -> int:
    return await asyncio.to_thread(by.collected.get, timeout=AMPLE_S)


async def a_round() -> None:
    await asyncio.sleep(0)


def played(
    story: Callable[[Letterbox, Collector], Awaitable[None]],
    is_lending: Callable[[], bool] | None = None,
) -> None:
    box = Letterbox(enough=ENOUGH, is_lending=is_lending)
    by = Collector(box)

    async def play() -> None:
        with by.at_work():
            while not box._is_waiting:
                await asyncio.sleep(0.001)
            await story(box, by)

    asyncio.run(play())


def never() -> bool:
    return False


def test_letters_are_kept_while_more_come_in_each_round() -> None:
    async def story(box: Letterbox, by: Collector) -> None:
        for _ in range(3):
            box.put(letter())
            await a_round()
        assert len(box) == 3
        assert await collected(by) == 3

    played(story, never)


def test_letters_are_not_kept_for_ever() -> None:
    async def story(box: Letterbox, by: Collector) -> None:
        for _ in range(ENOUGH - 1):
            box.put(letter())
            if not box._is_watched:
                break
            await a_round()
        assert await collected(by) <= 2 * ROUNDS + 2 < ENOUGH - 1

    played(story, never)


def test_enough_letters_wait_for_no_others() -> None:
    async def story(box: Letterbox, by: Collector) -> None:
        for _ in range(ENOUGH + 1):
            box.put(letter())
        await a_round()
        await a_round()
        await a_round()
        assert not box._is_waiting
        assert await collected(by) == ENOUGH
        by.may_go_on.release()
        assert await collected(by) == 1

    played(story, never)


@pytest.mark.parametrize("is_lending", [None, never, lambda: True])
def test_what_comes_while_others_are_written_is_collected_after_them(
    is_lending: Callable[[], bool] | None,
) -> None:
    async def story(box: Letterbox, by: Collector) -> None:
        box.put(letter())
        assert await collected(by) == 1
        box.put(letter())
        await asyncio.sleep(0.01)
        assert by.collected.empty()
        by.may_go_on.release()
        assert await collected(by) == 1

    played(story, is_lending)


def test_no_letter_is_forgotten_whenever_it_comes() -> None:
    """Just when the thread goes to wait, too."""

    async def story(box: Letterbox, by: Collector) -> None:
        by.may_go_on.release(10_000)
        number = 0
        for put in range(500):
            box.put(letter())
            for _ in range(put % 7):
                await a_round()
        while number < 500:
            number += await collected(by)

    played(story, never)


@pytest.mark.parametrize(
    ("letters", "is_lending", "expected"),
    [
        (WORTH_A_TURN, lambda: True, [True]),
        (WORTH_A_TURN - 1, lambda: True, []),
        (WORTH_A_TURN, never, []),
        (WORTH_A_TURN, None, []),
    ],
)
def test_the_loop_sleeps_while_many_letters_are_written_and_the_store_is_free(
    letters: int,
    is_lending: Callable[[], bool] | None,
    expected: list[bool],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lent: list[bool] = []
    real = Turn.lend

    def lend(self: Turn) -> None:
        real(self)
        lent.append(self._is_over)

    async def story(box: Letterbox, by: Collector) -> None:
        for _ in range(letters):
            box.put(letter())
        assert await collected(by) == letters
        await asyncio.sleep(0.05)

    monkeypatch.setattr(Turn, "lend", lend)
    monkeypatch.setattr("towline.reconciler.server.turn.LENT_S", AMPLE_S)
    played(story, is_lending)
    assert lent == expected
