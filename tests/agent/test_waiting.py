"""Prepare, wait for a window or a lock, install: real agents over real TLS."""

import dataclasses
import json
import os
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.agent.fleet_server import FleetServer, with_action
from tests.agent.packages import INSTALL, AgentProcess, again, publish, until
from towline.agent import gate, identity, loop
from towline.agent.device import Device
from towline.agent.layout import Layout
from towline.agent.rhythm import Polled
from towline.agent.stop import Stop
from towline.schemas.desired_state import ComponentAction, ComponentWanted
from towline.schemas.verifier import Clock
from towline.schemas.windows import Allow, Deny, Window, closes_at

TODAY = datetime.now(UTC).date()
CLOSED = (
    Window(Deny(TODAY - timedelta(days=1), TODAY + timedelta(days=2)), "UTC", "holiday freeze"),
)
INSTALLED = [("installing", ""), ("verifying", ""), ("completed", "")]
WAITS = ("pending", "WaitingForWindow")


def told(server: FleetServer, component: str = "hello") -> list[tuple[str, str]]:
    """State and reason of every report of an attempt."""
    found = [report.attempt for _, report in server.reports if report.attempt]
    return [(each.state.value, each.reason) for each in found if each.component == component]


def closed(wanted: ComponentWanted) -> ComponentWanted:
    return dataclasses.replace(wanted, windows=CLOSED)


def as_prepare(wanted: ComponentWanted) -> ComponentWanted:
    return with_action(wanted, ComponentAction.PREPARE)


def test_prepare_then_a_closed_window_then_an_open_one_is_one_download_and_each_word_once(
    server: FleetServer, agent: AgentProcess, tmp_path: Path
) -> None:
    wanted = publish(server, tmp_path, "1.0.0")
    server.want("pi-1", closed(as_prepare(wanted)))
    agent.call("once")
    server.packages.clear()
    server.want("pi-1", closed(wanted))
    for _ in range(3):
        agent.call("once")
    assert agent.installed() is None
    last = server.last("pi-1")
    opening = closes_at(CLOSED, int(time.time()), None)
    assert opening is not None
    day = TODAY + timedelta(days=3)
    assert f"{day} 00:00 UTC; holiday freeze" in last.message
    server.want("pi-1", wanted)
    agent.call("once")
    assert (agent.installed(), agent.status()["downloads"]) == ("1.0.0", 1)
    before = [("pending", "Preparing"), ("pending", "Staged"), WAITS]
    assert told(server) == before + INSTALLED


def test_status_says_what_an_install_waits_for_and_until_when(
    server: FleetServer, agent: AgentProcess, tmp_path: Path
) -> None:
    server.want("pi-1", closed(publish(server, tmp_path, "1.0.0")))
    agent.call("once")
    status = agent.status()
    (wait,) = status["waitsFor"]
    midnight = datetime(TODAY.year, TODAY.month, TODAY.day, tzinfo=UTC) + timedelta(days=3)
    assert (wait["component"], wait["reason"]) == ("hello", "WaitingForWindow")
    assert wait["until"] == midnight.timestamp()
    shown = status["components"]["hello"]
    assert (shown["state"], shown["reason"]) == ("pending", "WaitingForWindow")
    assert "holiday freeze" in agent.call("status", "--why").stdout


def test_a_grant_that_is_withdrawn_while_it_waits_leaves_the_release_staged(
    server: FleetServer, agent: AgentProcess, tmp_path: Path
) -> None:
    wanted = publish(server, tmp_path, "1.0.0")
    for each in (closed(wanted), as_prepare(wanted), wanted):
        server.want("pi-1", each)
        agent.call("once")
    assert told(server) == [("downloading", ""), WAITS, ("pending", "Staged"), *INSTALLED]


def test_a_lock_holds_the_install_until_it_is_taken_away(
    server: FleetServer, agent: AgentProcess, tmp_path: Path
) -> None:
    agent.call("lock", "till", "--reason", "a customer pays")
    server.want("pi-1", publish(server, tmp_path, "1.0.0"))
    for _ in range(2):
        agent.call("once")
    assert agent.installed() is None
    assert told(server) == [("downloading", ""), ("pending", "Locked")]
    assert server.last("pi-1").message == "till: a customer pays"
    agent.call("unlock", "till")
    agent.call("once")
    assert told(server)[2:] == INSTALLED


def test_any_file_of_any_program_is_a_lock(
    server: FleetServer, agent: AgentProcess, tmp_path: Path
) -> None:
    (agent.root / "locks").mkdir(exist_ok=True)
    (agent.root / "locks" / "backup").touch()
    server.want("pi-1", publish(server, tmp_path, "1.0.0"))
    agent.call("once")
    assert (server.last("pi-1").reason, server.last("pi-1").message) == ("Locked", "backup")


def test_a_lock_whose_name_is_no_text_is_told_and_shown(
    server: FleetServer, agent: AgentProcess, tmp_path: Path
) -> None:
    (agent.root / "locks" / os.fsdecode(b"h\xff")).write_text("till\n")
    server.want("pi-1", publish(server, tmp_path, "1.0.0"))
    agent.call("once")
    assert (server.last("pi-1").reason, server.last("pi-1").message) == ("Locked", "h\ufffd: till")
    assert "Locked h\ufffd: till" in agent.call("status", "--why").stdout


def test_the_agents_own_lock_and_names_that_lead_elsewhere_are_no_locks(
    agent: AgentProcess,
) -> None:
    for name in ("agent", "../x", ".x", "A"):
        assert "cannot name a lock" in agent.call("lock", name, status=1).stderr
        assert "there is no lock" in agent.call("unlock", name, status=1).stderr
    assert "there is no lock" in agent.call("unlock", "till", status=1).stderr


def test_while_one_component_waits_another_is_prepared_and_installed(
    server: FleetServer, agent: AgentProcess, tmp_path: Path
) -> None:
    waits = closed(publish(server, tmp_path, "1.0.0"))
    other = publish(server, tmp_path, "2.0.0", name="other")
    server.want("pi-1", waits, as_prepare(other))
    agent.call("once")
    assert told(server, "other") == [("pending", "Preparing"), ("pending", "Staged")]
    server.want("pi-1", waits, other)
    agent.call("once")
    assert (agent.current("other"), agent.current("hello")) == ("2.0.0", None)
    assert told(server) == [("downloading", ""), WAITS]


def test_what_has_begun_finishes_under_a_lock(
    server: FleetServer, agent: AgentProcess, tmp_path: Path
) -> None:
    script = INSTALL + 'touch "$TOWLINE_ROOT/locks/late"\n'
    server.want("pi-1", publish(server, tmp_path, "1.0.0", {"install.sh": script}))
    agent.call("once")
    assert told(server) == [("downloading", ""), *INSTALLED]


def test_a_preparation_that_fails_is_told_as_an_installs_would_be(
    server: FleetServer, agent: AgentProcess, tmp_path: Path
) -> None:
    wanted = as_prepare(publish(server, tmp_path, "1.0.0"))
    name, data = server.packages.popitem()
    server.want("pi-1", wanted)
    for _ in range(2):
        agent.call("once")
    server.packages[name] = bytes(len(data))
    server.want("pi-1", dataclasses.replace(wanted, attempt=2))
    agent.call("once")
    assert told(server) == [
        ("pending", "Preparing"),
        ("failed", "DownloadFailed"),
        ("pending", "Preparing"),
        ("failed", "ChecksumMismatch"),
    ]
    assert (agent.installed(), agent.current()) == (None, None)


def test_a_window_that_opens_between_two_polls_is_not_slept_through(
    server: FleetServer, agent: AgentProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "LONG_POLL_S", 0)
    monkeypatch.setattr(loop, "OPENING_SPREAD_S", 0)
    monkeypatch.setattr(gate, "ANSWER_AGE_LIMIT_S", 0.5)
    server.poll_after_s = 3600
    layout = Layout(agent.root)
    device = Device(layout, identity.load(layout), Stop())
    began, opening = time.monotonic(), (int(time.time()) // 60 + 1) * 60

    def now() -> int:
        return opening - 4 + int(time.monotonic() - began)

    monkeypatch.setattr(device.timekeeper, "now", now)
    minute = opening % 86400 // 60
    window = Window(Allow(frozenset(range(7)), minute, 3600))
    server.want("pi-1", dataclasses.replace(publish(server, tmp_path, "1.0.0"), windows=(window,)))
    running = threading.Thread(target=loop.run, args=(device,))
    running.start()
    try:
        until(lambda: ("completed", "") in told(server))
        assert told(server)[:3] == [("downloading", ""), WAITS, ("installing", "")]
    finally:
        device.stop.set()
        running.join()
        device.server.close()


def test_a_clock_that_nothing_keeps_right_is_set_by_a_new_document_after_a_start(
    server: FleetServer, agent: AgentProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.want("pi-1", publish(server, tmp_path, "1.0.0"))
    agent.call("once")
    layout = Layout(agent.root)
    for is_synchronised in (True, False):
        clock = Clock(int(time.time()), is_synchronised)
        monkeypatch.setattr(loop, "system_clock", lambda clock=clock: clock)
        device = Device(layout, identity.load(layout), Stop())
        before = device.trust.state.sequence
        for _ in range(2):
            loop.poll(device, 0)
        told_anew = device.trust.state.sequence > before
        assert told_anew is not is_synchronised
        device.server.close()


def test_a_refused_document_is_no_fresh_answer_and_the_next_poll_still_asks_for_a_new_one(
    server: FleetServer, agent: AgentProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "system_clock", lambda: Clock(int(time.time()), False))
    agent.call("lock", "till")
    wanted = publish(server, tmp_path, "1.0.0")
    server.want("pi-1", wanted)
    agent.call("once")
    agent.call("unlock", "till")
    layout = Layout(agent.root)
    device = Device(layout, identity.load(layout), Stop())
    server.want("pi-1")
    server.tamper = lambda document: dataclasses.replace(document, organization="other")
    for _ in range(2):
        assert loop.poll(device, 0) is Polled.FAILED
        assert loop.converge(device) is False
    assert agent.installed() is None
    server.want("pi-1", wanted)
    server.tamper = lambda document: document
    before = device.trust.state.sequence
    loop.poll(device, 0)
    assert device.trust.state.sequence > before
    assert loop.converge(device)
    assert agent.installed() == "1.0.0"
    device.server.close()


def rolled_back_to(
    server: FleetServer, agent: AgentProcess, old: ComponentWanted
) -> list[tuple[str, str]]:
    """What is told of going back to `old`."""
    server.reports.clear()
    server.want("pi-1", with_action(again(old), ComponentAction.ROLLBACK))
    for _ in range(2):
        agent.call("once")
    return told(server)


def test_a_rollback_by_people_takes_what_lies_here_and_is_told_as_one(
    server: FleetServer, agent: AgentProcess, tmp_path: Path
) -> None:
    old = publish(server, tmp_path, "1.0.0")
    for wanted in (old, publish(server, tmp_path, "1.1.0")):
        server.want("pi-1", wanted)
        agent.call("once")
    server.packages.clear()
    assert rolled_back_to(server, agent, old) == [
        ("installing", ""),
        ("verifying", ""),
        ("rolled_back", "RolledBackByUser"),
    ]
    assert (agent.installed(), agent.current()) == ("1.0.0", "1.0.0")
    assert not (agent.root / "known-bad").exists()
    server.want("pi-1", with_action(old, ComponentAction.KEEP))
    agent.call("once")
    last = server.reports[-1][1]
    assert (last.attempt, last.versions["hello"].version) == (None, "1.0.0")


def test_a_rollback_downloads_what_is_here_no_more(
    server: FleetServer, agent: AgentProcess, tmp_path: Path
) -> None:
    old = publish(server, tmp_path, "1.0.0")
    for wanted in (old, *(publish(server, tmp_path, v) for v in ("1.1.0", "1.2.0"))):
        server.want("pi-1", wanted)
        agent.call("once")
    assert rolled_back_to(server, agent, old)[0] == ("downloading", "")
    assert agent.current() == "1.0.0"


def test_a_rollback_that_fails_leaves_what_ran_and_is_not_tried_again(
    server: FleetServer, agent: AgentProcess, tmp_path: Path
) -> None:
    script = INSTALL + '[ "$TOWLINE_PREVIOUS_VERSION" = "" ]\n'
    old = publish(server, tmp_path, "1.0.0", {"install.sh": script})
    for wanted in (old, publish(server, tmp_path, "1.1.0")):
        server.want("pi-1", wanted)
        agent.call("once")
    assert rolled_back_to(server, agent, old) == [("installing", ""), ("failed", "RollbackFailed")]
    assert "still on what ran before: InstallFailed" in server.last("pi-1").message
    assert (agent.installed(), agent.current()) == ("1.1.0", "1.1.0")
    journal = json.loads((agent.root / "journal").read_text())
    assert journal["attempt"] is None
