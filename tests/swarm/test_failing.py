"""What `towline swarm` says, and its exit code, when it cannot do what was asked."""

import json
from collections.abc import Iterator
from pathlib import Path

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


@pytest.mark.parametrize(
    ("log", "words"),
    [
        ("missing/log", "No such file or directory"),
        ("", "Is a directory"),
        ("half", "ends in half a line"),
    ],
)
def test_a_log_that_cannot_be_appended_to_is_told_before_anything_is_begun(
    fleet: ServedFleet, tmp_path: Path, log: str, words: str
) -> None:
    (tmp_path / "half").write_text('{"organization": "ac')
    minted = minted_join_strings(fleet)
    done = fleet.tried("swarm", "--devices", "1", "--ack-log", str(tmp_path / log))
    said, remedy = done.stderr.splitlines()
    assert (done.returncode, done.stdout) == (1, "")
    assert said.startswith("error: the log")
    assert words in said
    assert "name" in remedy
    assert minted_join_strings(fleet) == minted


def test_the_folders_own_server_may_be_named_by_its_address(fleet: ServedFleet) -> None:
    token = (fleet.data / "admin.token").read_text().strip()
    named = ("--server", fleet.client.server, "--json")
    done = fleet.tried("swarm", "--devices", "1", "--for", "6s", *named, TOWLINE_TOKEN=token)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["devices"] == {"waiting": 1}


def test_a_swarm_of_which_every_device_is_refused_fails_and_tells_its_figures(
    fleet: ServedFleet,
) -> None:
    used_up = fleet.towline("join", "create").strip()
    for devices, code, at in ((1, 0, {"waiting": 1}), (2, 1, {"refused": 2})):
        named = ("--devices", str(devices), "--for", "6s", "--join", used_up, "--json")
        done = fleet.tried("swarm", *named)
        assert done.returncode == code, done.stderr
        assert json.loads(done.stdout)["devices"] == at
    assert "error: the server refused every device, 2 of 2: 2 enrol 403 join-token" in done.stderr


def minted_join_strings(fleet: ServedFleet) -> int:
    acts = json.loads(fleet.towline("audit", "list", "-o", "json"))["items"]
    return sum(act["action"] == "join-token.create" for act in acts)
