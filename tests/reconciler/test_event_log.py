"""State changes are logged once each, under the contract's names."""

from pathlib import Path

from structlog.testing import capture_logs

from tests.reconciler.simulation import ORGANIZATION, Simulation, manifest
from towline.reconciler.event_log import EventLog


def test_every_state_change_is_a_log_line(tmp_path: Path) -> None:
    fleet = Simulation(tmp_path, devices=2)
    fleet.commit(manifest("1.0.0", "  strategy: immediate\n"))
    fleet.step(4)
    event_log = EventLog(fleet.store, ORGANIZATION)
    event_log.tell_new()
    fleet.devices["till-1"].breaks = lambda version: version == "2.0.0"
    fleet.commit(manifest("2.0.0", "  strategy: immediate\n  order: name\n"))
    fleet.step(2)
    with capture_logs() as lines:
        event_log.tell_new()
        event_log.tell_new()
    names = [line["event"] for line in lines]
    assert names[:2] == ["deployment.created", "deployment.started"]
    assert names.count("device.rolled_back") == 1
    assert {"downloading", "completed"} <= {
        line["status"] for line in lines if line["event"] == "device.status"
    }
    (rolled_back,) = (line for line in lines if line["event"] == "device.rolled_back")
    assert (rolled_back["device"], rolled_back["reason"]) == ("till-1", "HealthCheckFailed")
    assert rolled_back["log_level"] == "info"
