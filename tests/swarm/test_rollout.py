"""A swarm at a real server: two rollouts, and a kill under load that loses nothing acknowledged."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.swarm.served import ServedFleet

DEVICES = 60
QUICK = ("--download", "1s", "--install", "0s", "--verify", "0s")
PATIENCE_S = 90


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[ServedFleet]:
    served = ServedFleet(tmp_path, poll_interval_s=5)
    yield served
    served.stop()


@pytest.mark.timeout(240)
def test_a_server_killed_under_load_loses_nothing_and_the_rollouts_complete(
    fleet: ServedFleet,
) -> None:
    fleet.serve()
    fleet.swarm(DEVICES, "--ack-log", str(fleet.ack_log), *QUICK)
    fleet.until(lambda: fleet.devices() == DEVICES, PATIENCE_S, "enrolment")
    fleet.publish("1.0.0", "canary")
    fleet.until(lambda: completed(fleet, "1.0.0") > DEVICES // 4, PATIENCE_S, "load")

    fleet.kill()
    killed = fleet.acknowledged()
    assert killed.acknowledged > DEVICES
    assert killed.missing == ()

    fleet.serve()
    fleet.until(lambda: is_over(fleet, "1.0.0"), PATIENCE_S, "the canary rollout")
    fleet.publish("2.0.0", "rolling")
    fleet.until(lambda: is_over(fleet, "2.0.0"), PATIENCE_S, "the rolling rollout")

    figures = fleet.end_swarm()
    found = fleet.acknowledged()
    assert (found.missing, found.untold) == ((), ())
    assert found.acknowledged == figures["reports"]
    assert figures["versions"] == {"app 2.0.0": DEVICES}
    # While the server is away nobody is reached; it never answers with an error.
    assert not [kind for kind in figures["errors"] if kind.split()[1].isdecimal()]
    assert not [kind for kind in figures["errors"] if kind.startswith(("bug", "document"))]


def completed(fleet: ServedFleet, version: str) -> int:
    found = fleet.run(version)
    return int(found["progress"]["completed"]) if found else 0


def is_over(fleet: ServedFleet, version: str) -> bool:
    return fleet.run(version).get("status") == "completed"
