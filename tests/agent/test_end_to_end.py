"""Real agent processes against a real TLS server that signs for real."""

from pathlib import Path

from tests.agent.fleet_server import FleetServer
from tests.agent.packages import AgentProcess, publish


def test_a_good_release_is_installed_reported_and_verified(
    server: FleetServer, agent: AgentProcess, tmp_path: Path
) -> None:
    server.want("pi-1", publish(server, tmp_path, "1.0.0"))
    done = agent.call("once")
    assert (agent.installed(), agent.current()) == ("1.0.0", "1.0.0")
    assert server.states("pi-1") == ["downloading", "installing", "verifying", "completed"]
    after = [report for _, report in server.reports][-1]
    assert after.attempt is None
    assert after.versions["hello"].version == "1.0.0"
    assert "downloading hello 1.0.0" in done.stderr
    status = agent.status()
    assert status["components"]["hello"]["state"] == "completed"
    assert status["downloads"] == 1
