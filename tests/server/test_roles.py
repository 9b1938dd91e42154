"""Many processes on one Postgres: two that serve, two that reconcile, and what befalls them."""

import base64
import json
import re
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, cast

import httpx
import psycopg
import pytest

from tests.postgres import Databases
from tests.server.conftest import Device, Running
from tests.server.processes import LEADER, WRITERS, Process, Processes
from tests.server.test_admin_create import CONTRACT
from towline.schemas.enrolment import JoinString

pytestmark = pytest.mark.timeout(300)
PATIENCE_S = 60.0
"""For what has no figure to hold."""
TAKE_OVER_S = 5.0
REPAIRED_S = 3.0
"""Read every second; the rest is for a busy machine."""
DEVICES = 8


@pytest.fixture(scope="module")
def fleet(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    """api-1, api-2, reconciler-1 and reconciler-2."""
    begun = Processes(tmp_path_factory.mktemp("roles"), databases.fresh())
    try:
        begun.prepare(poll_interval_s=2)
        for role in ("api", "reconciler"):
            for number in (1, 2):
                begun.serve(f"{role}-{number}", role)
        begun.wait()
        yield begun
    finally:
        begun.stop()


def named(fleet: Processes, name: str) -> Process:
    return next(each for each in fleet.all if each.name == name)


@pytest.fixture
def api_1(fleet: Processes) -> Iterator[httpx.Client]:
    with named(fleet, "api-1").client() as client:
        yield client


@pytest.fixture
def api_2(fleet: Processes) -> Iterator[httpx.Client]:
    with named(fleet, "api-2").client() as client:
        yield client


def at(client: httpx.Client, device: Device | None = None, **more: Any) -> Device:
    """A device that speaks to this process; with another's key and session, the same device."""
    server = cast(Running, SimpleNamespace(client=client))
    if device is None:
        return Device(server, **more)
    return Device(server, device.id, device.key, device.token, device.report_seq)


def admin(fleet: Processes) -> dict[str, str]:
    return {"Authorization": f"Bearer {fleet.token()}"}


def enrolled(fleet: Processes, client: httpx.Client, name: str) -> Device:
    """A device that was let in there, and has a session."""
    made = client.post("/api/v1/admin/ota/join-tokens", headers=admin(fleet))
    assert made.status_code == 201, made.text
    device = at(client, id=name)
    assert device.enrol(JoinString.parse(made.json()["join"]).token).status_code == 201
    assert device.open().status_code == 200
    return device


def test_one_leads_and_those_that_reconcile_only_tell_how_they_are(fleet: Processes) -> None:
    leader = fleet.leader()
    assert leader is not None
    assert leader.name.startswith("reconciler")
    leads = {}
    for process in fleet.all:
        with process.client() as client:
            told = client.get("/metrics", headers=admin(fleet)).text
            leads[process.name] = "towline_leader 1.0" in told
            assert "towline_leader_epoch 1.0" in told
            assert re.search(r"^towline_git_seen_timestamp_seconds 1\.", told, re.MULTILINE), told
            refused = client.get("/api/v1/ota/root/1", params={"organization": "acme"})
            is_open = process.name.startswith("api")
            assert refused.status_code == (200 if is_open else 404), refused.text
    assert [name for name, does in leads.items() if does] == [leader.name]
    assert f"epoch {fleet.epoch()}" in fleet.towline("doctor")


def test_a_leader_that_is_killed_or_frozen_is_followed_by_another_and_nothing_is_lost(
    fleet: Processes,
) -> None:
    fleet.begin_swarm(named(fleet, "api-1"), DEVICES)
    fleet.until(lambda: devices(fleet) >= DEVICES, PATIENCE_S)
    fleet.publish("1.0.0", "rolling")
    fleet.until(lambda: completed(fleet) > 0, PATIENCE_S)

    first = kill_in_the_middle_of_a_pass(fleet)
    took = fleet.until(lambda: fleet.epoch() == 2, PATIENCE_S)
    assert took < TAKE_OVER_S

    fleet.serve(f"{first.name}-again", "reconciler")
    fleet.wait()
    second = freeze_between_two_writes(fleet)
    fleet.sql(
        "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'"
        " AND granted AND objid = %s",
        LEADER,
    )
    took = fleet.until(lambda: fleet.epoch() == 3, PATIENCE_S)
    assert took < TAKE_OVER_S
    third = fleet.leader()
    second.signal(signal.SIGCONT)
    fleet.until(lambda: is_out(second), PATIENCE_S)

    fleet.until(lambda: status(fleet) == "completed", PATIENCE_S)
    assert fleet.epoch() == 3
    assert (third, second) == (fleet.leader(), second)
    assert third not in (None, second)

    with killed_while_a_statement_runs(fleet):
        took = fleet.until(lambda: fleet.epoch() == 4, PATIENCE_S)
    assert took < TAKE_OVER_S
    assert "equals the store" in fleet.towline("replay", "--store", fleet.database)


def test_a_session_is_known_everywhere_and_its_end_too(
    fleet: Processes, api_1: httpx.Client, api_2: httpx.Client
) -> None:
    device = enrolled(fleet, api_1, "pi-0001")
    former = at(api_2, device)
    assert former.poll().status_code == 200
    request = device.session_request()
    assert device.open(request).status_code == 200
    replayed = at(api_2, device).open(request)
    assert (replayed.status_code, replayed.json()["code"]) == (401, "nonce-reused")
    fleet.until(lambda: former.poll().status_code == 401, REPAIRED_S)
    assert at(api_2, device).poll().status_code == 200


def test_a_device_that_waits_is_woken_by_the_leader_and_by_what_is_done_elsewhere(
    fleet: Processes, api_1: httpx.Client, api_2: httpx.Client
) -> None:
    device = at(api_2, enrolled(fleet, api_1, "pi-0002"))
    with ThreadPoolExecutor(1) as waiting:
        parked = waiting.submit(device.poll, device.poll().headers["etag"], 60)
        fleet.publish("3.0.0", "immediate")
        assert parked.result(PATIENCE_S).status_code == 200

        fleet.until(lambda: status(fleet, "3.0.0") == "in_progress", PATIENCE_S)
        fleet.until(lambda: wanted(device) == ["3.0.0"], PATIENCE_S)
        parked = waiting.submit(device.poll, device.poll().headers["etag"], 60)
        time.sleep(0.3)
        began = time.monotonic()
        verb = "/api/v1/admin/ota/deployments/app/cancel"
        assert api_1.post(verb, headers=admin(fleet)).status_code == 200
        assert parked.result(PATIENCE_S).status_code == 200
        assert time.monotonic() - began < REPAIRED_S


def test_a_deployment_is_made_at_a_process_that_never_decides(
    fleet: Processes, api_1: httpx.Client, api_2: httpx.Client
) -> None:
    """Its commit goes to git there, its run is begun by the leader, and all know of it."""
    path = "/api/v1/admin/ota/deployments"
    made = api_2.post(path, json=CONTRACT, headers=admin(fleet))
    assert (made.status_code, made.json()["status"]) == (200, "pending"), made.text
    shown = f"{path}/{made.json()['deployment_id']}"
    fleet.until(lambda: api_1.get(shown, headers=admin(fleet)).status_code == 200, PATIENCE_S)
    ended = api_1.post(f"{shown}/cancel", headers=admin(fleet))
    assert (ended.status_code, ended.json()["status"]) == (200, "cancelled"), ended.text


def test_what_was_notified_to_nobody_is_repaired_within_a_second(
    fleet: Processes, api_1: httpx.Client, api_2: httpx.Client
) -> None:
    device = at(api_2, enrolled(fleet, api_1, "pi-0003"))
    etag = device.poll().headers["etag"]
    for is_listening in (True, False):
        assert device.open().status_code == 200
        with ThreadPoolExecutor(1) as waiting:
            parked = waiting.submit(device.poll, etag, 60)
            time.sleep(0.3)
            if not is_listening:
                fleet.sql(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND query LIKE %s AND pid <> %s",
                    "SELECT change_outbox.id%",
                    0,
                )
            began = time.monotonic()
            fleet.sql(
                "WITH d AS (SELECT seq FROM edge_devices WHERE slug = 'pi-0003')"
                " INSERT INTO change_outbox (kind, payload) SELECT 'sessions',"
                " jsonb_build_object(seq::text, '') FROM d UNION ALL"
                " SELECT 'devices', jsonb_build_array(seq) FROM d"
            )
            assert parked.result(PATIENCE_S).status_code == 401
            assert time.monotonic() - began < REPAIRED_S
    fleet.sql("INSERT INTO dirty_deployments VALUES ('acme', 'nothing')")
    fleet.until(lambda: not fleet.sql("SELECT 1 FROM dirty_deployments"), REPAIRED_S)


def devices(fleet: Processes) -> int:
    rows = fleet.sql("SELECT count(*) FROM device_state WHERE report_seq > 0")
    return int(rows[0][0])


def completed(fleet: Processes) -> int:
    found = run(fleet)
    return int(found["progress"]["completed"]) if found else 0


def status(fleet: Processes, version: str = "1.0.0") -> str:
    return str(run(fleet, version).get("status"))


def run(fleet: Processes, version: str = "1.0.0") -> dict[str, Any]:
    found = fleet.api(named(fleet, "api-2"), "/deployments/app", devices="failing")
    return dict(found) if found.get("target_version") == version else {}


def wanted(device: Device) -> list[str]:
    """The versions of its document."""
    document = json.loads(base64.b64decode(device.poll().json()["payload"]))
    return [component["version"] for component in document["components"]]


def kill_in_the_middle_of_a_pass(fleet: Processes) -> Process:
    """While it waits for its turn to write what it decided."""
    leader = fleet.leader()
    assert leader is not None
    with psycopg.connect(fleet.database, autocommit=True) as turn:
        turn.execute("SELECT pg_advisory_lock(%s)", (WRITERS,))
        fleet.sql("INSERT INTO dirty_deployments VALUES ('acme', 'app') ON CONFLICT DO NOTHING")
        fleet.until(lambda: waits_for_its_turn(fleet, leader), PATIENCE_S)
        leader.signal(signal.SIGKILL)
        leader.running.wait()
        fleet.all.remove(leader)
    return leader


@contextmanager
def killed_while_a_statement_runs(fleet: Processes) -> Iterator[None]:
    """It has its turn to write, and in the block waits at the database for what another has."""
    leader = fleet.leader()
    assert leader is not None
    with psycopg.connect(fleet.database) as other:
        with psycopg.connect(fleet.database, autocommit=True) as turn:
            turn.execute("SELECT pg_advisory_lock(%s)", (WRITERS,))
            fleet.sql("INSERT INTO dirty_deployments VALUES ('acme', 'app') ON CONFLICT DO NOTHING")
            fleet.until(lambda: waits_for_its_turn(fleet, leader), PATIENCE_S)
            # Whoever makes a pass takes from this table what is to be done.
            other.execute("LOCK TABLE dirty_deployments IN SHARE MODE")
        fleet.until(lambda: bool(of_turn(fleet, leader, is_held=True)), PATIENCE_S)
        leader.signal(signal.SIGKILL)
        leader.running.wait()
        fleet.all.remove(leader)
        yield


def waits_for_its_turn(fleet: Processes, process: Process) -> bool:
    return bool(of_turn(fleet, process, is_held=False))


def of_turn(fleet: Processes, process: Process, *, is_held: bool) -> list[tuple[Any, ...]]:
    return fleet.sql(
        "SELECT 1 FROM pg_locks l JOIN pg_stat_activity a USING (pid)"
        " WHERE l.locktype = 'advisory' AND l.objid = %s AND l.granted = %s"
        " AND a.application_name LIKE %s",
        WRITERS,
        is_held,
        f"towline pid {process.running.pid} on %",
    )


def freeze_between_two_writes(fleet: Processes) -> Process:
    """One that held its turn would hold up all others, too."""
    leader = fleet.leader()
    assert leader is not None
    while True:
        leader.signal(signal.SIGSTOP)
        time.sleep(0.05)
        if not of_turn(fleet, leader, is_held=True) and not waits_for_its_turn(fleet, leader):
            return leader
        leader.signal(signal.SIGCONT)
        time.sleep(0.05)


def is_out(process: Process) -> bool:
    """Its log says that it noticed."""
    return re.search(r"leader\.(lost|deposed)", process.log.read_text()) is not None
