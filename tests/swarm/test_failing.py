"""What `towline swarm` says, and its exit code, when it cannot do what was asked."""

from collections.abc import Iterator

import pytest

from tests.swarm.served import ServedFleet


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedFleet]:
    served = ServedFleet(tmp_path_factory.mktemp("served"), poll_interval_s=5)
    served.serve()
    yield served
    served.stop()


def test_a_log_on_a_full_disk_ends_the_swarm(fleet: ServedFleet) -> None:
    done = fleet.tried("swarm", "--devices", "3", "--processes", "2", "--ack-log", "/dev/full")
    assert done.returncode == 1
    said, remedy = done.stderr.splitlines()
    assert said == "error: the log /dev/full cannot be written: No space left on device"
    assert "make room" in remedy
    assert done.stdout == ""
