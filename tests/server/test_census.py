"""The page of a large fleet: counted now and then, and never for each look."""

import time

import pytest

from tests.server.conftest import Device, Running
from tests.server.test_dashboard_pages import add_devices
from tests.server.visiting import Guest
from towline.reconciler.server import census
from towline.reconciler.store import device_parts


@pytest.fixture(autouse=True)
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is a large fleet here."""
    monkeypatch.setattr(device_parts, "LARGE_FLEET", 0)
    monkeypatch.setattr(device_parts, "COUNTED", 2)


def test_the_last_count_is_shown_until_it_is_old_and_then_a_new_one_is_made_behind_it(
    server: Running, enrolled: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    guest = Guest(server).sign_in("viewer")
    first = guest.get("/fleet").text
    assert "devices 1" in first and "were counted at" in first and "1 device Device" in first
    add_devices(server, 3)
    assert "devices 1" in guest.get("/fleet").text
    with monkeypatch.context() as later:
        later.setattr(time, "monotonic", lambda: time.perf_counter() + 10**9)
        assert "devices 1" in guest.get("/fleet").text
    deadline = time.monotonic() + 30
    while "devices 4" not in (shown := guest.get("/fleet").text):
        assert time.monotonic() < deadline, shown
    assert "more than 2 devices of 4" in guest.get("/fleet", q="-").text


def test_a_count_that_fails_leaves_the_former_one(
    server: Running, enrolled: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(census, "LEAST_REST_S", 0.0)
    monkeypatch.setattr(census, "REST_FACTOR", 0)
    guest = Guest(server).sign_in("viewer")
    guest.get("/fleet")

    def fails(*_: object) -> None:
        raise RuntimeError("no count")

    with monkeypatch.context() as patched:
        patched.setattr(census, "_count", fails)
        for _ in range(3):
            assert "devices 1" in guest.get("/fleet").text
    add_devices(server, 1)
    deadline = time.monotonic() + 30
    while "devices 2" not in guest.get("/fleet").text:
        assert time.monotonic() < deadline
