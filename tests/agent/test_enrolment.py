"""How a device becomes known, and what it refuses to trust."""

import dataclasses
from pathlib import Path

from tests.agent.fleet_server import FleetServer
from tests.agent.packages import AgentProcess
from towline.agent.identity import load
from towline.agent.layout import Layout


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


def test_an_id_that_is_taken_is_not_overwritten(server: FleetServer, tmp_path: Path) -> None:
    AgentProcess(tmp_path / "one").enrol(server)
    before = dict(server.devices)
    told = AgentProcess(tmp_path / "two").call(
        "enroll", str(server.join()), "--id", "pi-1", status=1
    )
    assert "another key" in told.stderr
    assert server.devices == before


def test_a_root_with_another_hash_is_not_trusted(server: FleetServer, tmp_path: Path) -> None:
    join = dataclasses.replace(server.join(), root=f"sha256:{'0' * 64}")
    agent = AgentProcess(tmp_path / "device")
    assert "root-hash" in agent.call("enroll", str(join), status=1).stderr
    assert not agent.root.exists()
    assert "POST /api/v1/ota/enroll" not in server.requests


def test_a_server_with_another_certificate_gets_no_request(
    server: FleetServer, tmp_path: Path
) -> None:
    join = dataclasses.replace(server.join(), certificate=f"sha256:{'0' * 64}")
    agent = AgentProcess(tmp_path / "device")
    assert "server-certificate" in agent.call("enroll", str(join), status=1).stderr
    assert server.requests == []


def test_without_a_pin_a_certificate_that_nobody_vouches_for_is_refused(
    server: FleetServer, tmp_path: Path
) -> None:
    join = dataclasses.replace(server.join(), certificate=None)
    told = AgentProcess(tmp_path / "device").call("enroll", str(join), status=1)
    assert "certificate" in told.stderr
    assert server.requests == []


def test_a_device_is_enrolled_only_once(server: FleetServer, tmp_path: Path) -> None:
    agent = AgentProcess(tmp_path / "device")
    agent.enrol(server)
    told = agent.call("enroll", str(server.join()), status=1)
    assert "enrolled already, as pi-1" in told.stderr


def test_a_device_may_wait_for_approval(server: FleetServer, tmp_path: Path) -> None:
    server.needs_approval = True
    agent = AgentProcess(tmp_path / "device")
    told = agent.call("enroll", str(server.join()), "--id", "pi-1")
    assert "towline device approve pi-1" in told.stderr
    assert "waits for approval" in agent.call("once", status=1).stderr
    server.devices["pi-1"] = load(Layout(agent.root)).key.public
    agent.call("once")


def test_what_is_no_join_string_or_id_is_told_with_a_remedy(
    server: FleetServer, tmp_path: Path
) -> None:
    agent = AgentProcess(tmp_path / "device")
    assert "no join string" in agent.call("enroll", "https://example.com", status=1).stderr
    told = agent.call("enroll", str(server.join()), "--id", "Not/An/Id", status=1)
    assert "is no id" in told.stderr
    assert "no device is enrolled" in agent.call("status", status=1).stderr
    agent.call("once", "--nonsense", status=64)
