"""The API for people: shapes of the contract, roles, organizations."""

from typing import Any

import httpx
import pytest
from sqlalchemy import insert, update

from tests.server.conftest import (
    NOW,
    AddRun,
    Device,
    Running,
    add_batch,
    add_target,
    run_values,
    wall,
)
from tests.server.test_device import device_seq
from towline.reconciler.store import people
from towline.reconciler.store import tables as t
from towline.reconciler.store.people import Role
from towline.schemas.enrolment import JoinString
from towline.schemas.verifier import root_fingerprint

API = "/api/v1/admin/ota"


def get(server: Running, path: str, role: str = "viewer", **query: Any) -> httpx.Response:
    return server.client.get(f"{API}{path}", params=query, headers=server.admin(role))


def test_the_list_has_the_contracts_shape(
    server: Running, enrolled: Device, add_run: AddRun
) -> None:
    run = add_run(target_count=4)
    add_target(server, run, device_seq(server), status="completed")
    document = get(server, "/deployments", status="in_progress").json()
    assert document["pagination"] == {
        "page": 1,
        "page_size": 20,
        "total_count": 1,
        "total_pages": 1,
    }
    (item,) = document["deployments"]
    contract = {
        "deployment_name": "Hello 1",
        "target_version": "1.0.0",
        "rollout_strategy": "canary",
        "status": "in_progress",
        "progress_percentage": 25.0,
        "total_devices": 4,
        "completed_devices": 1,
        "created_at": "2026-09-21T14:13:20Z",
        "started_at": "2026-09-21T14:13:20Z",
    }
    assert contract.items() <= item.items()
    assert item["deployment_id"] == item["id"]
    ours = {"name", "revision", "reason", "reasons", "message", "health", "commit", "counts"}
    assert ours | {"batches", "targetVersion", "strategy"} <= item.keys()


def test_the_detail_has_the_contracts_shape(
    server: Running, enrolled: Device, add_run: AddRun
) -> None:
    run = add_run(target_count=5)
    add_batch(server, run)
    add_target(
        server,
        run,
        device_seq(server),
        status="rolled_back",
        started_at=NOW,
        completed_at=NOW + 60,
        error_message="health check failed",
    )
    detail = get(server, "/deployments/hello").json()
    assert detail["progress"] == {
        "total_devices": 5,
        "completed": 0,
        "failed": 1,
        "in_progress": 0,
        "pending": 4,
        "skipped": 0,
        "percentage": 0.0,
    }
    assert detail["metadata"].keys() == {"update_package_url", "checksum", "release_notes"}
    assert detail["status_breakdown"]["rolled_back"] == 1
    assert detail["health"] == "degraded"
    (device,) = detail["devices"]
    contract = {
        "device_id": "pi-0001",
        "device_name": "pi-0001",
        "current_version": None,
        "status": "rolled_back",
        "started_at": "2026-09-21T14:13:20Z",
        "completed_at": "2026-09-21T14:14:20Z",
        "error_message": "health check failed",
    }
    assert contract.items() <= device.items()
    by_uuid = get(server, f"/deployments/{detail['deployment_id']}").json()
    assert by_uuid == detail
    (batch,) = get(server, "/deployments/hello/batches").json()["batches"]
    assert (batch["number"], batch["state"], batch["counts"]) == (1, "open", {"rolled_back": 1})


def test_the_list_is_paged_newest_first(server: Running, add_run: AddRun) -> None:
    for turn in range(1, 6):
        add_run(turn=turn, status="completed")
    page = get(server, "/deployments", page=2, page_size=2).json()
    assert page["pagination"]["total_pages"] == 3
    assert [item["turn"] for item in page["deployments"]] == [3, 2]


@pytest.mark.parametrize(
    "query", [{"status": "done"}, {"page_size": 101}, {"page_size": 0}, {"page": 0}]
)
def test_wrong_filters_are_422(server: Running, query: dict[str, Any]) -> None:
    answer = get(server, "/deployments", **query)
    assert (answer.status_code, answer.json()["code"]) == (422, "bad-field")
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_verb_acts_and_wakes_the_reconciler(server: Running, add_run: AddRun) -> None:
    add_run()
    answer = server.client.post(
        f"{API}/deployments/hello/pause",
        json={"reason": "look first"},
        headers=server.admin("operator"),
    )
    assert (answer.status_code, answer.json()["status"]) == (200, "paused")
    assert server.wakes.is_set()
    again = server.client.post(f"{API}/deployments/hello/pause", headers=server.admin("operator"))
    assert (again.status_code, again.json()["code"]) == (409, "not-allowed")
    assert "paused" in again.json()["detail"]


@pytest.mark.parametrize("role", ["viewer", "planner"])
def test_a_role_that_is_too_low_changes_nothing(
    server: Running, add_run: AddRun, role: str
) -> None:
    add_run()
    answer = server.client.post(f"{API}/deployments/hello/pause", headers=server.admin(role))
    assert (answer.status_code, answer.json()["code"]) == (403, "role")
    assert get(server, "/deployments/hello").json()["status"] == "in_progress"


def test_only_an_admin_makes_join_tokens(server: Running) -> None:
    path = f"{API}/join-tokens"
    assert server.client.post(path, headers=server.admin("operator")).status_code == 403
    body = {"labels": {"site": "berlin"}, "max_uses": 2}
    answer = server.client.post(path, json=body, headers=server.admin())
    assert answer.status_code == 201
    join = JoinString.parse(answer.json()["join"])
    assert (join.server, join.organization) == (server.url, "acme")
    assert join.root == root_fingerprint(server.root_bytes)
    assert join.certificate is not None
    assert [Device(server, f"pi-{n}").enrol(join.token).status_code for n in range(3)] == [
        201,
        201,
        403,
    ]
    assert get(server, "/devices/pi-0").json()["labels"] == {"site": "berlin"}
    server.roots.clear()
    answer = server.client.post(path, json=body, headers=server.admin())
    assert (answer.status_code, answer.json()["code"]) == (503, "not-ready")


@pytest.mark.parametrize("token", ["", "tow_x_y", "tow_a", "x"])
def test_without_a_known_token_everything_is_401(server: Running, token: str) -> None:
    for path in ("/deployments", "/devices", "/events", "/repository"):
        answer = server.client.get(
            f"{API}{path}", headers={"Authorization": f"Bearer {token}"} if token else {}
        )
        assert (answer.status_code, answer.json()["code"]) == (401, "token")


def test_the_id_of_a_token_is_nothing_without_its_secret(server: Running) -> None:
    _, number, secret = server.tokens["admin"].split("_")
    for guess in ("0" * 64, "", secret[:-1], f"{secret}0", secret.upper()):
        sent = {"Authorization": f"Bearer tow_{number}_{guess}"}
        answer = server.client.get(f"{API}/devices", headers=sent)
        assert (answer.status_code, answer.json()["code"]) == (401, "token")


def test_a_token_counts_as_a_bearers_alone(server: Running) -> None:
    token = server.tokens["admin"]
    for said in (token, f"Basic {token}", f"bearer {token}", f"Token {token}"):
        answer = server.client.get(f"{API}/devices", headers={"Authorization": said})
        assert (answer.status_code, answer.json()["code"]) == (401, "token")


def test_a_revoked_or_expired_token_is_401(server: Running) -> None:
    for change in ({"revoked_at": NOW}, {"revoked_at": None, "expires_at": wall() - 1}):
        with server.store.write() as connection:
            connection.execute(update(t.admin_tokens).values(**change))
        assert get(server, "/devices").status_code == 401


def test_another_organizations_objects_are_404(server: Running, enrolled: Device) -> None:
    values = run_values(server, "theirs")
    with server.store.write() as connection:
        connection.execute(insert(t.runs), values | {"organization": "other"})
        stranger = people.create_admin_token(
            connection, "other", name="stranger", role=Role.ADMIN, now=NOW
        )
    for path in ("/deployments/theirs", f"/deployments/{values['id']}"):
        assert get(server, path, "admin").status_code == 404
    headers = {"Authorization": f"Bearer {stranger}"}
    assert server.client.get(f"{API}/devices/pi-0001", headers=headers).status_code == 404
    assert server.client.get(f"{API}/devices", headers=headers).json()["devices"] == []


def test_a_device_shows_what_it_runs_and_what_is_wanted(
    server: Running, enrolled: Device, add_run: AddRun
) -> None:
    add_target(server, add_run(), device_seq(server))
    enrolled.report(enrolled.facts(versions={"hello": {"version": "0.9.0", "sha256": "aa" * 32}}))
    device = get(server, "/devices/pi-0001").json()
    assert (device["online"], device["deviceType"], device["organization"]) == (
        True,
        "raspberry_pi",
        "acme",
    )
    assert device["components"]["hello"] == {
        "current": "0.9.0",
        "sha256": "aa" * 32,
        "rollbackIndex": 0,
        "knownBad": None,
        "pin": None,
        "desired": "1.0.0",
        "state": "pending",
        "reason": "",
        "message": "",
        "deployment": "hello",
        "attempt": 1,
        "commit": "12" * 20,
    }
    assert get(server, f"/devices/{device['uuid']}").json() == device
    assert "pi-0001" in get(server, "/devices/pi-0001/explain").json()["text"]


def test_events_are_read_forward_from_a_number(server: Running) -> None:
    for n in range(3):
        assert Device(server, f"pi-{n}").enrol(server.join_token()).status_code == 201
    newest = get(server, "/events", limit=2).json()["events"]
    assert [event["device"] for event in newest] == ["pi-1", "pi-2"]
    after = get(server, "/events", after=newest[0]["id"]).json()["events"]
    assert [event["device"] for event in after] == ["pi-2"]
    assert len(get(server, "/events", device="pi-0").json()["events"]) == 1


def test_a_held_commit_is_shown_and_accepted(server: Running) -> None:
    accept = {"commit": "ab" * 20, "reason": "we meant it"}
    path = f"{API}/repository/accept"
    refused = server.client.post(path, json=accept, headers=server.admin())
    assert refused.status_code == 409
    with server.store.write() as connection:
        connection.execute(
            update(t.repositories).values(held_commit="ab" * 20, hold_reason="a force push?")
        )
    shown = get(server, "/repository").json()
    assert (shown["held_commit"], shown["hold_reason"]) == ("ab" * 20, "a force push?")
    assert (
        server.client.post(path, json=accept, headers=server.admin("operator")).status_code == 403
    )
    assert server.client.post(path, json=accept, headers=server.admin()).status_code == 200


def test_unknown_paths_are_problems(server: Running) -> None:
    for path in (f"{API}/nothing", "/nothing", f"{API}/deployments/none", "/api/v1/ota/none"):
        answer = server.client.get(path, headers=server.admin())
        assert (answer.status_code, answer.json()["code"]) == (404, "not-found")
