"""What people need is loaded for the first of them, once, and not before."""

import asyncio
import subprocess
import sys
import threading
from typing import Any

import pytest

from towline.reconciler.server.front import MadeWhenAsked

OF_PEOPLE = {"fastapi", "jinja2", "ruamel", "requests"}
"""What nothing needs but people's calls and pages."""


def test_a_server_that_nobody_asked_has_not_loaded_what_people_need() -> None:
    words = "import sys, towline.reconciler.server.serve as _; print(*sys.modules)"
    done = subprocess.run(
        (sys.executable, "-c", words), capture_output=True, text=True, check=True, timeout=60
    )
    loaded = set(done.stdout.split())
    assert "towline.reconciler.server.service" in loaded
    assert not loaded & OF_PEOPLE


class _Making:
    """Makes an application which says how many were made before it; the first one is slow."""

    def __init__(self) -> None:
        self.may_end = threading.Event()
        self.is_to_fail = False
        self.made = 0

    def __call__(self) -> Any:
        assert self.may_end.wait(10)
        if self.is_to_fail:
            raise OSError
        number, self.made = self.made, self.made + 1

        async def application(scope: Any, receive: Any, send: Any) -> None:
            await send({"made": number})

        return application


@pytest.mark.parametrize("failed_before", [False, True])
def test_it_is_made_once_while_the_loop_goes_on(failed_before: bool) -> None:
    async def ask() -> list[int]:
        making, told = _Making(), list[int]()
        people = MadeWhenAsked(making)

        async def send(message: Any) -> None:
            told.append(message["made"])

        if failed_before:
            making.is_to_fail = True
            making.may_end.set()
            with pytest.raises(OSError):
                await people({}, None, send)  # type: ignore[arg-type]
            making.is_to_fail = False
            making.may_end.clear()
        asking = [asyncio.create_task(people({}, None, send)) for _ in range(3)]  # type: ignore[arg-type]
        await asyncio.sleep(0.05)
        assert not told, "the loop is free while it is made"
        making.may_end.set()
        await asyncio.gather(*asking)
        return told

    assert asyncio.run(ask()) == [0, 0, 0]
