"""The agent itself at the server's door: it waits, gets in, renews its key, and has a copy."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.server.conftest import Running
from tests.server.test_enrolments import API
from towline.agent import identity, loop, renewal
from towline.agent.device import Device
from towline.agent.layout import Layout
from towline.agent.rhythm import Polled
from towline.agent.stop import Stop
from towline.schemas.enrolment import JoinString


@contextmanager
def running(root: Path) -> Iterator[Device]:
    """An agent that was started."""
    layout = Layout(root)
    device = Device(layout, identity.load(layout), Stop())
    try:
        yield device
    finally:
        device.server.close()


def post(server: Running, path: str, **body: Any) -> dict[str, Any]:
    answer = server.client.post(f"{API}{path}", json=body, headers=server.admin())
    assert answer.is_success, answer.text
    found: dict[str, Any] = answer.json()
    return found


def enrol(server: Running, root: Path, **terms: Any) -> str:
    """As `towline-agent enroll`; the fingerprint that it shows while it waits."""
    join = JoinString.parse(post(server, "/join-tokens", **terms)["join"])
    return identity.enrol(Layout(root), join, "pi-1", "raspberry_pi").fingerprint


def state(server: Running) -> str:
    answer = server.client.get(f"{API}/devices/pi-1", headers=server.admin())
    return str(answer.json()["state"])


def test_an_agent_waits_for_the_person_who_compares_its_fingerprint(
    server: Running, tmp_path: Path
) -> None:
    root = tmp_path / "device"
    shown = enrol(server, root, pending=True)
    with running(root) as agent:
        assert loop.poll(agent, 0) is Polled.PENDING
        post(server, "/devices/pi-1/approve", fingerprint=shown)
        assert loop.poll(agent, 0) is Polled.CHANGED
        post(server, "/devices/pi-1/revoke", reason="stolen")
        assert loop.poll(agent, 0) is Polled.REVOKED
        post(server, "/devices/pi-1/approve", fingerprint=shown)
        assert loop.poll(agent, 0) is not Polled.REVOKED


def test_an_agent_renews_its_key(server: Running, tmp_path: Path) -> None:
    root = tmp_path / "device"
    enrol(server, root)
    with running(root) as agent:
        assert loop.once(agent)
        before = agent.identity.key.public
        renewal.begin(agent.layout)
        assert loop.once(agent)
        assert agent.identity.key.public != before
    with running(root) as agent:
        assert loop.once(agent)


def test_a_copy_of_an_agent_is_found_and_both_wait_for_a_person(
    server: Running, tmp_path: Path
) -> None:
    roots = tmp_path / "device", tmp_path / "copy"
    enrol(server, roots[0])
    shutil.copytree(roots[0], roots[1], symlinks=True)
    with running(roots[0]) as agent, running(roots[1]) as copy:
        polled = [loop.poll(each, 0) for _ in range(3) for each in (agent, copy)]
        assert polled[0] is Polled.CHANGED
        assert polled[-2:] == [Polled.REVOKED] * 2
    assert state(server) == "duplicate"
    shutil.rmtree(roots[1])
    shown = enrol(server, roots[1])
    assert state(server) == "duplicate"
    post(server, "/devices/pi-1/approve", fingerprint=shown)
    with running(roots[0]) as agent, running(roots[1]) as copy:
        assert loop.poll(agent, 0) is not Polled.CHANGED
        assert loop.poll(copy, 0) is Polled.CHANGED
    assert state(server) == "active"


def test_an_agent_that_is_started_often_is_no_copy(server: Running, tmp_path: Path) -> None:
    root = tmp_path / "device"
    enrol(server, root)
    for _ in range(4):
        with running(root) as agent:
            assert loop.once(agent)
    assert state(server) == "active"
