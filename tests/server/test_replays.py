"""The API for replays: for viewers, of their own organization."""

import pytest

from tests.server.conftest import ORGANIZATION, Running, run_values
from tests.server.test_admin import get
from towline.reconciler.store import runs
from towline.reconciler.store.causes import because

BEGUN = 1_790_000_100
PAUSED = BEGUN + 60


@pytest.fixture
def recorded(server: Running) -> Running:
    """A server where a run began and a minute later waits for something else."""
    with server.store.write() as connection:
        because(connection, "commit", BEGUN)
        run_seq = runs.insert_run(connection, run_values(server, "hello"))
        because(connection, "decision", PAUSED)
        runs.set_on_run(connection, run_seq, reason="WaitingForWindow")
    return server


def test_a_replay_of_everything_equals_the_store(recorded: Running) -> None:
    answer = get(recorded, "/replay").json()
    assert (answer["differences"], answer["changes"], answer["olderRuns"]) == (0, 2, 0)
    (deployment,) = answer["deployments"]
    assert (deployment["name"], deployment["reason"]) == ("hello", "WaitingForWindow")


def test_a_replay_up_to_a_time_shows_what_stood_then(recorded: Running) -> None:
    answer = get(recorded, "/replay", at=PAUSED - 1).json()
    (deployment,) = answer["deployments"]
    assert deployment["reason"] == ""
    assert "differences" not in answer
    assert get(recorded, "/replay", at=BEGUN - 1).json()["deployments"] == []


def test_nobody_replays_another_organizations_record(server: Running) -> None:
    with server.store.write() as connection:
        because(connection, "commit", BEGUN)
        runs.insert_run(connection, run_values(server, "hello") | {"organization": "other"})
    assert ORGANIZATION != "other"
    assert get(server, "/replay").json()["changes"] == 0


def test_a_replay_needs_a_token(recorded: Running) -> None:
    assert recorded.client.get("/api/v1/admin/ota/replay").status_code == 401


def test_a_time_that_nobody_can_write_is_refused(server: Running) -> None:
    assert get(server, "/replay", at=253_402_300_799).status_code == 200
    assert get(server, "/replay", at=253_402_300_800).status_code == 422
