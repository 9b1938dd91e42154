"""The rhythm of polls, when a document is renewed, and what time it can be."""

import dataclasses
import threading
from typing import NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.agent.fleet_server import FleetServer
from tests.agent.packages import AgentProcess, until
from tests.agent.test_decide import document
from towline.agent import durable, identity, loop
from towline.agent.clock import Timekeeper
from towline.agent.device import Device
from towline.agent.layout import Layout
from towline.agent.rhythm import BACKOFF_LIMIT_S, LEAST_PAUSE_S, Polled, Rhythm, renew_at
from towline.agent.stop import Stop


@given(
    st.integers(1, 7200), st.lists(st.sampled_from([Polled.FAILED, Polled.UNCHANGED]), max_size=20)
)
def test_without_news_nothing_is_faster_than_the_poll_interval(
    interval_s: int, polls: list[Polled]
) -> None:
    rhythm = Rhythm(interval_s)
    for polled in polls:
        pause = rhythm.after(polled)
        assert interval_s <= pause <= 1.3 * max(interval_s, BACKOFF_LIMIT_S)


def test_failures_in_a_row_double_the_pause_until_one_poll_succeeds() -> None:
    rhythm = Rhythm(100)
    pauses = [rhythm.after(Polled.FAILED) for _ in range(4)]
    for number, pause in enumerate(pauses):
        assert 100 * 2**number <= pause <= 130 * 2**number
    rhythm.after(Polled.UNCHANGED)
    assert rhythm.after(Polled.FAILED) <= 130


def test_news_and_a_parked_answer_are_followed_at_once() -> None:
    assert Rhythm(300).after(Polled.CHANGED) == LEAST_PAUSE_S
    assert Rhythm(300).after(Polled.PARKED) == LEAST_PAUSE_S
    assert Rhythm(300).after(Polled.REVOKED) == BACKOFF_LIMIT_S


@given(st.text("abcdef0123456789-", min_size=1, max_size=20))
def test_a_document_is_renewed_at_0_4_to_0_8_of_its_life(device: str) -> None:
    made = dataclasses.replace(document(), device=device, issued_at=1000, expires=2000)
    assert 1400 <= renew_at(made) <= 1800
    assert renew_at(made) == renew_at(made)


def test_devices_do_not_renew_all_at_once() -> None:
    made = [
        dataclasses.replace(document(), device=f"pi-{n}", issued_at=0, expires=100_000)
        for n in range(50)
    ]
    assert len({renew_at(each) for each in made}) > 30


def test_time_never_falls_below_what_the_last_document_said() -> None:
    far = 9_000_000_000
    keeper = Timekeeper(0)
    keeper.raise_floor(far)
    assert keeper.now() >= far


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), ValueError("a bug")])
def test_neither_a_full_disk_nor_an_error_of_the_agent_keeps_the_device_from_the_server(
    server: FleetServer, agent: AgentProcess, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    agent.call("once")
    server.requests.clear()
    layout = Layout(agent.root)
    device = Device(layout, identity.load(layout), Stop())
    device.journal.write(device.journal.state.with_report(device.report_for()))
    server.reports.clear()

    def full(*_: object, **__: object) -> NoReturn:
        raise OSError(28, "No space left on device")

    def failing(_: Device) -> NoReturn:
        raise error

    monkeypatch.setattr(durable, "write_file", full)
    monkeypatch.setattr(loop, "converge", failing)
    running = threading.Thread(target=loop.run, args=(device,))
    running.start()
    try:
        until(lambda: "GET /api/v1/ota/desired-state" in server.requests)
        assert len(server.reports) == 1
    finally:
        device.stop.set()
        running.join()
        device.server.close()
