"""The device's key is renewed, by its age or by a person, and no stop on the way loses it."""

import os
import shutil
import time
from pathlib import Path

import pytest

from tests.agent.fleet_server import FleetServer
from tests.agent.packages import AgentProcess, publish
from tests.agent.test_crashes import Crash, crash_at
from towline.agent import identity, loop, renewal
from towline.agent.device import Device
from towline.agent.layout import Layout
from towline.agent.rhythm import Polled, Rhythm
from towline.agent.stop import Stop
from towline.schemas.keys import PublicKey


def start(agent: AgentProcess) -> bool:
    layout = Layout(agent.root)
    device = Device(layout, identity.load(layout), Stop())
    try:
        return loop.once(device)
    finally:
        device.server.close()


def polled(agent: AgentProcess) -> Polled:
    layout = Layout(agent.root)
    device = Device(layout, identity.load(layout), Stop())
    try:
        return loop.poll(device, 0)
    finally:
        device.server.close()


def key_of(agent: AgentProcess) -> PublicKey:
    return identity.load(Layout(agent.root)).key.public


def age(agent: AgentProcess, days: int) -> None:
    then = time.time() - days * 86400
    os.utime(agent.root / "identity/key.pem", (then, then))


def test_a_person_renews_the_key_and_the_agent_goes_on_with_it(
    server: FleetServer, agent: AgentProcess, tmp_path: Path
) -> None:
    server.want("pi-1", publish(server, tmp_path, "1.0.0"))
    before = key_of(agent)
    agent.call("renew")
    agent.call("renew")
    assert key_of(agent) == before
    agent.call("once")
    assert key_of(agent) == server.devices["pi-1"] != before
    assert agent.current() == "1.0.0"
    assert start(agent)
    assert (agent.root / "identity/key.pem").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(("days", "is_renewed"), [(200, False), (400, True), (-30, False)])
def test_a_key_is_renewed_when_it_is_a_year_old(
    server: FleetServer, agent: AgentProcess, days: int, is_renewed: bool
) -> None:
    assert start(agent), "before the first document no time is known"
    before = key_of(agent)
    age(agent, days)
    assert start(agent)
    assert (key_of(agent) != before) is is_renewed
    assert server.devices["pi-1"] == key_of(agent)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("loses_an_answer", [False, True])
def test_a_stop_at_any_write_of_a_renewal_leaves_a_key_that_the_server_knows(
    server: FleetServer,
    agent: AgentProcess,
    tmp_path: Path,
    after: bool,
    loses_an_answer: bool,
) -> None:
    assert start(agent)
    first = key_of(agent)
    for number in range(20):
        copy = AgentProcess(tmp_path / f"{number}")
        shutil.copytree(agent.root, copy.root, symlinks=True)
        age(copy, 400)
        server.devices["pi-1"], server.loses_an_answer = first, loses_an_answer
        try:
            with crash_at(number, after=after):
                start(copy)
                start(copy)
        except Crash:
            assert server.devices["pi-1"] in (key_of(copy), _next(copy))
            start(copy)
            assert start(copy)
            assert server.devices["pi-1"] == key_of(copy)
            assert _next(copy) is None
            continue
        assert number >= 3
        return
    raise AssertionError("there is no end of writes")


def _next(agent: AgentProcess) -> PublicKey | None:
    found = renewal.next_key(Layout(agent.root))
    return found.public if found else None


def test_a_server_that_will_not_renew_is_asked_again_another_day(
    server: FleetServer, agent: AgentProcess
) -> None:
    server.refuses_renewal = "key-in-git"
    assert start(agent)
    before = key_of(agent)
    age(agent, 400)
    assert start(agent)
    assert (key_of(agent), _next(agent)) == (before, None)
    layout = Layout(agent.root)
    device = Device(layout, identity.load(layout), Stop())
    server.requests.clear()
    assert loop.once(device)
    loop.poll(device, 0)
    device.server.close()
    assert server.requests.count("POST /api/v1/ota/enroll") == 1


def test_a_device_that_is_shut_out_keeps_its_next_key_for_later(
    server: FleetServer, agent: AgentProcess
) -> None:
    agent.call("renew")
    following = _next(agent)
    server.refuses_renewal = "revoked"
    assert polled(agent) is Polled.REVOKED
    assert _next(agent) == following
    server.refuses_renewal = ""
    assert start(agent)
    assert key_of(agent) == following


def test_a_server_that_was_restored_learns_the_renewed_key_from_the_former_one(
    server: FleetServer, agent: AgentProcess
) -> None:
    restored = dict(server.devices)
    agent.call("renew")
    assert start(agent)
    server.devices = restored
    assert polled(agent) is Polled.FAILED
    assert server.devices["pi-1"] == key_of(agent)
    assert start(agent)


def test_a_request_that_was_forgotten_is_made_again(
    server: FleetServer, agent: AgentProcess
) -> None:
    server.devices.clear()
    server.needs_approval = True
    layout = Layout(agent.root)
    device = Device(layout, identity.load(layout), Stop())
    server.requests.clear()
    assert [loop.poll(device, 0) for _ in range(3)] == [Polled.PENDING] * 3
    assert server.requests.count("POST /api/v1/ota/enroll") == 1
    server.devices["pi-1"] = key_of(agent)
    assert loop.poll(device, 0) is Polled.CHANGED
    device.server.close()


def test_who_waits_for_approval_asks_at_a_steady_pace_and_who_is_shut_out_once_an_hour() -> None:
    rhythm = Rhythm(interval_s=30)
    assert all(rhythm.after(Polled.PENDING) < 40 for _ in range(9))
    assert [rhythm.after(Polled.REVOKED) for _ in range(3)] == [3600] * 3


@pytest.mark.parametrize("code", ["revoked", "duplicate-identity"])
def test_a_device_that_is_shut_out_keeps_what_it_runs(
    server: FleetServer, agent: AgentProcess, tmp_path: Path, code: str
) -> None:
    server.want("pi-1", publish(server, tmp_path, "1.0.0"))
    assert start(agent)
    server.shut_out = code
    assert polled(agent) is Polled.REVOKED
    assert agent.current() == "1.0.0"
    server.shut_out = ""
    assert start(agent)


def test_each_start_of_a_running_agent_is_another_boot_but_once_is_the_machines(
    server: FleetServer, agent: AgentProcess
) -> None:
    for _ in range(2):
        assert start(agent)
    agent.call("once")
    agent.call("once")
    first, second, third, fourth = server.boots[-4:]
    assert len({first, second, third}) == 3
    assert third == fourth
