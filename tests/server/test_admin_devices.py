"""Devices by what is asked of them, part by part, and the labels that people give them."""

from typing import Any

import httpx
import pytest
from sqlalchemy import select, update

from tests.server.conftest import NOW, AddRun, Device, Running, add_batch, add_target, wall
from tests.server.test_admin import API, get
from towline.reconciler.store import inventory
from towline.reconciler.store import tables as t
from towline.schemas.reports import Installed

SHA = "ab" * 32


@pytest.fixture
def fleet(server: Running, add_run: AddRun) -> Running:
    """Five devices, each with a lot of its own: pi-0 online … pi-4 never seen."""
    for n in range(5):
        labels = {"site": "oslo" if n % 2 else "ulm"} | ({"lab": "yes"} if n == 0 else {})
        token = server.join_token(labels=labels)
        kind = "camera" if n == 3 else "raspberry_pi"
        assert Device(server, f"pi-{n}").enrol(token, device_type=kind).status_code == 201
    older, run = add_run("hello"), add_run("hello", turn=2)
    add_batch(server, run)
    states = ("completed", "failed", "rolled_back", "pending", "completed")
    for seq, state in enumerate(states, 1):
        verified = {"verified_at": NOW, "sha256": SHA} if state == "completed" else {}
        add_target(server, run, seq, status=state, **verified)
    add_target(server, older, 4, status="failed")
    with server.store.write() as connection:
        for seq, last_seen in enumerate((wall(), wall() - 10, wall() - 5000, wall() - 9000, None)):
            values = {"last_seen": last_seen}
            connection.execute(
                update(t.device_state).where(t.device_state.c.device_seq == seq + 1).values(values)
            )
        for seq, (version, sha256) in {1: ("1.0.0", SHA), 5: ("0.9.0", "cd" * 32)}.items():
            inventory.set_versions(connection, seq, {"hello": Installed(version, sha256)}, NOW)
        connection.execute(
            update(t.edge_devices).where(t.edge_devices.c.slug == "pi-3").values(state="revoked")
        )
    return server


def ids(server: Running, **query: Any) -> list[str]:
    answer = get(server, "/devices", **query)
    assert answer.status_code == 200, answer.text
    return [each["id"].removeprefix("pi-") for each in answer.json()["devices"]]


def test_devices_are_found_by_each_and_all_that_is_asked(fleet: Running) -> None:
    table: list[tuple[dict[str, Any], str]] = [
        ({}, "01234"),
        ({"contains": "i-3"}, "3"),
        ({"contains": "%"}, ""),
        ({"label": "site=oslo"}, "13"),
        ({"label": "lab"}, "0"),
        ({"label": ["site=ulm", "lab=yes"]}, "0"),
        ({"label": "site"}, "01234"),
        ({"label": "site=mars"}, ""),
        ({"type": "camera"}, "3"),
        ({"state": "revoked"}, "3"),
        ({"presence": "online"}, "01"),
        ({"presence": "offline"}, "23"),
        ({"presence": "never"}, "4"),
        ({"version": "1.0.0"}, "0"),
        ({"version": "1.0.0", "component": "other"}, ""),
        ({"status": "pending"}, "3"),
        ({"failing": True}, "12"),
        ({"drift": True}, "4"),
        ({"failing": True, "label": "site=ulm"}, "2"),
        ({"sort": "-id"}, "43210"),
        ({"sort": "-last_seen"}, "01234"),
        ({"sort": "last_seen"}, "43210"),
    ]
    for query, expected in table:
        assert "".join(ids(fleet, **query)) == expected, query
        total = get(fleet, "/devices", limit=1, **query).json()["total"]
        assert total == len(expected), query


def test_parts_follow_each_other_without_a_gap(fleet: Running) -> None:
    with fleet.store.write() as connection:
        # Equal times are no reason to leave somebody out.
        connection.execute(update(t.device_state).values(last_seen=NOW))
    for sort in ("id", "-id", "last_seen", "-last_seen"):
        found: list[str] = []
        query: dict[str, Any] = {"sort": sort, "limit": 2}
        while True:
            part = get(fleet, "/devices", **query).json()
            found += [each["id"] for each in part["devices"]]
            if part["next_cursor"] is None:
                break
            query["cursor"] = part["next_cursor"]
        backwards = sort.startswith("-")
        assert found == [f"pi-{n}" for n in (range(4, -1, -1) if backwards else range(5))], sort


def test_what_nobody_can_ask_is_422(fleet: Running) -> None:
    for query in (
        {"cursor": "x", "sort": "last_seen"},
        {"label": "=x"},
        {"label": 'a"b=x'},
        {"status": "sleeping"},
        {"presence": "maybe"},
        {"sort": "size"},
        {"limit": 0},
        {"limit": 1001},
        {"contains": ""},
    ):
        answer = get(fleet, "/devices", **query)
        assert (answer.status_code, answer.json()["code"]) == (422, "bad-field"), query


def test_the_devices_of_a_run_come_in_parts(fleet: Running) -> None:
    first = get(fleet, "/deployments/hello", limit=2).json()
    assert [each["device_id"] for each in first["devices"]] == ["pi-0", "pi-1"]
    path = "/deployments/hello/devices"
    rest = get(fleet, path, cursor=first["next_cursor"]).json()
    assert [each["device_id"] for each in rest["devices"]] == ["pi-2", "pi-3", "pi-4"]
    assert rest["next_cursor"] is None
    bad = get(fleet, path, status=["failed", "rolled_back"], begins_with="pi-2").json()
    assert [each["status"] for each in bad["devices"]] == ["rolled_back"]
    assert get(fleet, "/deployments/ghost/devices").status_code == 404


def put(
    server: Running, labels: Any, etag: str | None, role: str = "operator", device: str = "pi-0"
) -> httpx.Response:
    headers = server.admin(role) | ({"If-Match": etag} if etag else {})
    body = {"labels": labels, "reason": "moved"}
    return server.client.put(f"{API}/devices/{device}/labels", json=body, headers=headers)


def test_labels_of_people_go_over_the_join_token_and_under_git(fleet: Running) -> None:
    with fleet.store.write() as connection:
        connection.execute(update(t.edge_devices).values(labels_git={"ring": "one"}))
    before = get(fleet, "/devices/pi-0/labels")
    assert before.json()["labels"] == {"site": "ulm", "lab": "yes", "ring": "one"}
    answer = put(fleet, {"site": "bergen", "stage": "🚀"}, before.headers["etag"])
    assert answer.json() == {
        "labels": {"site": "bergen", "stage": "🚀", "lab": "yes", "ring": "one"},
        "git": {"ring": "one"},
        "people": {"site": "bergen", "stage": "🚀"},
        "join": {"site": "ulm", "lab": "yes"},
    }
    assert ids(fleet, label="site=bergen") == ["0"]
    assert answer.headers["etag"] == get(fleet, "/devices/pi-0/labels").headers["etag"]
    refused = put(fleet, {"ring": "two"}, answer.headers["etag"])
    assert refused.status_code == 409
    assert "ring is one by the device's manifest" in refused.json()["detail"]


def test_labels_are_replaced_only_by_who_knows_them(fleet: Running) -> None:
    etag = get(fleet, "/devices/pi-0/labels").headers["etag"]
    assert put(fleet, {"a": "1"}, None).status_code == 428
    assert put(fleet, {"a": "1"}, '"other"').status_code == 412
    assert put(fleet, {"a": "1"}, etag).status_code == 200
    stale = put(fleet, {"a": "2"}, etag)
    assert (stale.status_code, stale.json()["code"]) == (412, "stale")
    assert put(fleet, {"a": "2"}, stale.json()["etag"]).status_code == 200
    assert put(fleet, {"a": "3"}, "*", device="ghost").status_code == 404
    assert put(fleet, {"a": "3"}, "*", role="planner").status_code == 403


def test_new_labels_are_looked_at_as_a_commit_is(fleet: Running) -> None:
    fleet.wakes.clear()
    etag = get(fleet, "/devices/pi-0/labels").headers["etag"]

    def state() -> tuple[set[str | None], int]:
        with fleet.store.write() as connection:
            checked = set(connection.execute(select(t.runs.c.checked_commit)).scalars())
            dirty = connection.execute(select(t.dirty_deployments)).all()
            connection.execute(t.dirty_deployments.delete())
            connection.execute(update(t.runs).values(checked_commit="f" * 40))
        return checked, len(dirty)

    state()
    same = put(fleet, {"lab": "yes"}, etag)
    assert state() == ({"f" * 40}, 0), "nothing that counts has changed"
    assert not fleet.wakes.is_set()
    assert put(fleet, {"lab": "no"}, same.headers["etag"]).status_code == 200
    assert state() == ({None}, 1)
    assert fleet.wakes.is_set()
    (event,) = get(fleet, "/events", device="pi-0", limit=1).json()["events"]
    assert (event["kind"], event["cause"]) == ("labels.changed", "label by operator person")


def test_a_word_that_no_call_knows_is_refused_with_the_nearest_one(server: Running) -> None:
    answer = get(server, "/devices", lable="site=oslo")
    assert answer.status_code == 422
    assert answer.json()["detail"] == "query.lable: there is no such parameter; there is label"
    answer = get(server, "/groups", page=1)
    assert answer.json()["detail"].endswith("there is none")
