"""A server and one enrolled device."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.agent.fleet_server import FleetServer
from tests.agent.misbehaving import Misbehaving
from tests.agent.packages import AgentProcess


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of the time of many tests: here an agent is cut off, never the machine's power."""
    monkeypatch.setattr("os.fsync", lambda _: None)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[FleetServer]:
    with FleetServer(tmp_path) as running:
        yield running


@pytest.fixture
def agent(tmp_path: Path, server: FleetServer) -> AgentProcess:
    device = AgentProcess(tmp_path / "device")
    device.enrol(server)
    return device


@pytest.fixture
def rogue(tmp_path: Path) -> Iterator[Misbehaving]:
    running = Misbehaving(tmp_path)
    yield running
    running.close()
