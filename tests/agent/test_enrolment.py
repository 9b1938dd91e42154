"""How a device becomes known, and what it refuses to trust."""

import dataclasses
import json
from pathlib import Path

import pytest

from tests.agent.fleet_server import FleetServer, Keys
from tests.agent.packages import AgentProcess
from towline.agent import identity
from towline.agent.identity import load
from towline.agent.layout import Layout
from towline.agent.wire import Unreachable
from towline.schemas.enrolment import JoinString
from towline.schemas.problems import Problem
from towline.schemas.verifier import root_fingerprint


def test_a_device_without_a_name_takes_one_from_its_key(
    server: FleetServer, tmp_path: Path
) -> None:
    agent = AgentProcess(tmp_path / "device")
    name = agent.call("enroll", str(server.join()), "--device-type", "pi4").stdout.strip()
    known = load(Layout(agent.root))
    assert name == f"d-{known.key.public.keyid[:16]}"
    assert (known.device_type, known.organization) == ("pi4", "acme")
    assert (agent.root / "identity/key.pem").stat().st_mode & 0o777 == 0o600
    assert (agent.root / "identity").stat().st_mode & 0o777 == 0o700


def test_a_used_token_is_not_authorised(server: FleetServer, tmp_path: Path) -> None:
    join = server.join()
    AgentProcess(tmp_path / "one").call("enroll", str(join))
    second = AgentProcess(tmp_path / "two")
    assert "used or expired" in second.call("enroll", str(join), status=4).stderr
    assert not (second.root / "trust/root/1.json").exists()
    second.call("enroll", str(server.join()))


def enrol(folder: Path, join: JoinString, device: str | None = None) -> identity.Enrolment:
    """As `towline-agent enroll` does, in this process."""
    return identity.enrol(Layout(folder), join, device, None)


def test_an_id_that_is_taken_is_not_overwritten(server: FleetServer, tmp_path: Path) -> None:
    enrol(tmp_path / "one", server.join(), "pi-1")
    before = dict(server.devices)
    with pytest.raises(Problem, match="another key"):
        enrol(tmp_path / "two", server.join(), "pi-1")
    assert server.devices == before
    assert not (tmp_path / "two" / "trust" / "root" / "1.json").exists()


def test_a_root_with_another_hash_is_not_trusted(server: FleetServer, tmp_path: Path) -> None:
    join = dataclasses.replace(server.join(), root=f"sha256:{'0' * 64}")
    with pytest.raises(Problem, match="root-hash"):
        enrol(tmp_path / "device", join)
    assert not (tmp_path / "device").exists()
    assert "POST /api/v1/ota/enroll" not in server.requests


def test_a_server_without_a_root_or_with_that_of_others_is_not_trusted(
    server: FleetServer, tmp_path: Path
) -> None:
    join = server.join()
    theirs = Keys().make_root(organization="others")
    server.roots = [theirs.sign(Keys().root)]
    of_others = dataclasses.replace(join, root=root_fingerprint(server.roots[0]))
    with pytest.raises(Problem, match="is not the server of this join string"):
        enrol(tmp_path / "device", of_others)
    server.roots = []
    with pytest.raises(Problem, match="has no root of trust"):
        enrol(tmp_path / "device", join)
    assert not (tmp_path / "device").exists()


def test_a_server_with_another_certificate_gets_no_request(
    server: FleetServer, tmp_path: Path
) -> None:
    join = dataclasses.replace(server.join(), certificate=f"sha256:{'0' * 64}")
    with pytest.raises(Problem, match="server-certificate"):
        enrol(tmp_path / "device", join)
    assert server.requests == []


def test_without_a_pin_a_certificate_that_nobody_vouches_for_is_refused(
    server: FleetServer, tmp_path: Path
) -> None:
    with pytest.raises(Unreachable, match="certificate"):
        enrol(tmp_path / "device", dataclasses.replace(server.join(), certificate=None))
    assert server.requests == []


def test_a_device_is_enrolled_only_once(server: FleetServer, tmp_path: Path) -> None:
    enrol(tmp_path / "device", server.join(), "pi-1")
    with pytest.raises(Problem, match="enrolled already, as pi-1"):
        enrol(tmp_path / "device", server.join(), "pi-1")


def test_what_is_no_id_is_not_asked_for(server: FleetServer, tmp_path: Path) -> None:
    with pytest.raises(Problem, match="is no id"):
        enrol(tmp_path / "device", server.join(), "Not/An/Id")
    assert server.requests == []


def test_an_identity_that_is_none_says_where_it_should_be(
    server: FleetServer, tmp_path: Path
) -> None:
    layout = Layout(tmp_path / "device")
    with pytest.raises(Problem, match="no device is enrolled in"):
        load(layout)
    enrol(layout.root, server.join())
    for spoilt in (b"", b"{}", b"[]", b'{"id": 5', b"\xff"):
        (layout.identity / "device.json").write_bytes(spoilt)
        with pytest.raises(Problem, match="cannot be read"):
            load(layout)


def test_an_agent_whose_own_names_are_none_does_not_start(
    server: FleetServer, tmp_path: Path
) -> None:
    layout = Layout(tmp_path / "device")
    enrol(layout.root, server.join())
    path = layout.identity / "device.json"
    good = json.loads(path.read_text())
    for name in ("id", "organization"):
        for value in ("a\r\nX: y", "a\0", "../x", "A", ""):
            path.write_text(json.dumps(good | {name: value}))
            with pytest.raises(Problem, match="names no device"):
                load(layout)


def test_a_device_may_wait_for_approval(server: FleetServer, tmp_path: Path) -> None:
    server.needs_approval = True
    agent = AgentProcess(tmp_path / "device")
    told = agent.call("enroll", str(server.join()), "--id", "pi-1")
    assert "towline device approve pi-1" in told.stderr
    assert "waits for approval" in agent.call("once", status=1).stderr
    server.devices["pi-1"] = load(Layout(agent.root)).key.public
    agent.call("once")


def test_what_is_no_join_string_is_told_with_a_remedy(tmp_path: Path) -> None:
    agent = AgentProcess(tmp_path / "device")
    assert "no join string" in agent.call("enroll", "https://example.com", status=1).stderr
    assert "no device is enrolled" in agent.call("status", status=1).stderr
    agent.call("once", "--nonsense", status=64)
