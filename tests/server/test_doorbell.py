"""The devices' doorbell: who sleeps at it, who is woken when, and that thousands come by turns."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from towline.reconciler.server import doorbell as doorbells
from towline.reconciler.server.doorbell import AT_LEAST, AT_ONCE, Doorbell

LONG_S = 30.0
DEVICES = range(3 * AT_ONCE)


def run(story: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(story, 20))


def opened() -> Doorbell:
    doorbell = Doorbell()
    doorbell.open()
    return doorbell


async def rung(doorbell: Doorbell, devices: range) -> int:
    """How many of these have heard it so far."""
    await asyncio.sleep(0.01)
    return sum(doorbell.count(device) for device in devices)


@pytest.mark.parametrize("cause", ["ring", "time", "close"])
def test_a_parked_poll_sleeps_until_there_is_a_reason(cause: str) -> None:
    async def story() -> None:
        doorbell = opened()
        nap_s = 0.01 if cause == "time" else LONG_S
        parked = asyncio.ensure_future(doorbell.wait(7, 0, nap_s))
        await asyncio.sleep(0)
        assert doorbell.parked == 1
        acts = {"ring": lambda: doorbell.ring([7]), "close": doorbell.close}
        acts.get(cause, lambda: None)()
        await parked
        assert doorbell.parked == 0

    run(story())


def test_a_few_are_rung_at_once() -> None:
    async def story() -> None:
        doorbell = opened()
        doorbell.is_busy = lambda: True
        doorbell.ring(range(AT_ONCE))
        assert await rung(doorbell, range(AT_ONCE)) == AT_ONCE

    run(story())


def test_many_are_rung_by_turns_while_the_server_keeps_up() -> None:
    async def story() -> None:
        doorbell, is_busy = opened(), True
        doorbell.is_busy = lambda: is_busy
        doorbell.ring(DEVICES)
        before = await rung(doorbell, DEVICES)
        assert 0 < before < AT_ONCE
        assert before % AT_LEAST == 0
        is_busy = False
        while (heard := await rung(doorbell, DEVICES)) < len(DEVICES):
            assert heard % AT_ONCE % AT_LEAST == 0
        assert heard == len(DEVICES)

    run(story())


def test_everybodys_turn_comes_however_busy_the_server_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doorbells, "PACE_S", 0.001)

    async def story() -> None:
        doorbell = opened()
        doorbell.is_busy = lambda: True
        doorbell.ring(range(AT_ONCE + 1))
        while await rung(doorbell, range(AT_ONCE + 1)) <= AT_ONCE:
            pass

    run(story())


def test_who_changes_alone_does_not_stand_in_the_line() -> None:
    async def story() -> None:
        doorbell, is_busy = opened(), True
        doorbell.is_busy = lambda: is_busy
        doorbell.ring(DEVICES)
        doorbell.ring([DEVICES[-1]])
        heard = await rung(doorbell, DEVICES)
        assert 1 < heard < AT_ONCE
        assert heard % AT_LEAST == 1
        is_busy = False
        while await rung(doorbell, DEVICES) < len(DEVICES):
            pass
        assert doorbell.count(DEVICES[-1]) == 1

    run(story())


class Broken:
    """Cannot be woken."""

    def wake(self) -> None:
        """Fail."""
        raise RuntimeError("broken")


class Deep:
    """Is woken once."""

    def __init__(self) -> None:
        self.is_awake = False

    def wake(self) -> None:
        """It rang."""
        self.is_awake = True


def test_who_cannot_be_woken_keeps_nobody_asleep() -> None:
    async def story() -> None:
        doorbell, deep = opened(), Deep()
        for sleeper in (Broken(), deep):
            doorbell.park(DEVICES[0], sleeper)
        doorbell.ring(DEVICES)
        while await rung(doorbell, DEVICES) < len(DEVICES):
            pass
        assert deep.is_awake

    run(story())


def test_a_slice_that_fails_ends_no_ringing() -> None:
    async def story() -> None:
        doorbell, failures = opened(), [RuntimeError("once")]

        def fail_once() -> bool:
            if failures:
                raise failures.pop()
            return False

        asyncio.get_running_loop().set_exception_handler(lambda *_: None)
        doorbell.is_busy = fail_once
        doorbell.ring(DEVICES)
        while await rung(doorbell, DEVICES) < len(DEVICES):
            pass

    run(story())
