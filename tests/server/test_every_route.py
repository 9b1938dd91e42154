"""Every call of the description: without a token 401, with a low role 403, of others 404."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from sqlalchemy import insert, select, update

from tests.server.changing import waiting
from tests.server.conftest import NOW, ORGANIZATION, AddRun, Device, Running, add_target
from tests.server.test_admin import API
from tests.server.visiting import Guest
from towline.reconciler.server import callers
from towline.reconciler.store import people
from towline.reconciler.store import tables as t
from towline.reconciler.store.labels import intern_labels
from towline.reconciler.store.people import Role
from towline.schemas.identifiers import device_uuid

THEIRS = {"deployment": "theirs", "device": "their-pi", "verb": "pause"}
ROLES = list(Role)
BODIES: dict[str, Any] = {"create_device_token": {}}
"""With a device_type it would bring a device of that id into the organization of the caller."""


@dataclass(frozen=True)
class Call:
    """One call of the description, with a body that it takes."""

    method: str
    path: str
    role: Role
    body: Any
    names: tuple[str, ...]
    """What stands in its path."""
    keeps_to_devices: bool


def described(server: Running) -> Iterator[Call]:
    """All calls of people; the device's two are elsewhere."""
    document = server.client.get("/api/openapi.json").json()
    for path, methods in document["paths"].items():
        for method, call in methods.items():
            if path.startswith(API):
                content = call.get("requestBody", {}).get("content", {})
                names = [p["name"] for p in call.get("parameters", ()) if p["in"] == "path"]
                body = content.get("application/json", {}).get("example")
                body = BODIES.get(call["operationId"], body)
                is_limited = call["x-limited-tokens"]
                role = Role(call["x-role"])
                yield Call(method.upper(), path, role, body, tuple(names), is_limited)


def send(server: Running, call: Call, token: str | None, **names: str) -> httpx.Response:
    headers = {"If-Match": "*"} | ({"Authorization": f"Bearer {token}"} if token else {})
    url = call.path.format(**THEIRS | names)
    return server.client.request(call.method, url, json=call.body, headers=headers)


@pytest.fixture
def theirs(server: Running, add_run: AddRun) -> dict[str, str]:
    """Another organization has a deployment, a device and a token; returns their ids."""
    run = add_run("theirs", organization="other")
    with server.store.write() as connection:
        values = {
            "id": device_uuid("other", "their-pi"),
            "slug": "their-pi",
            "organization": "other",
            "device_type": "camera",
            "label_set_id": intern_labels(connection, {}),
            "labels_git": {},
            "labels_people": {},
            "labels_join": {},
            "state": "active",
            "created_at": NOW,
        }
        made = connection.execute(insert(t.edge_devices).returning(t.edge_devices.c.seq), values)
        seq = made.scalar_one()
        connection.execute(insert(t.device_state).values(device_seq=seq, facts={}))
        later = waiting("their-later") | {"organization": "other"}
        connection.execute(insert(t.merge_requests), later)
        token = people.create_admin_token(
            connection, "other", name="Mallory", role=Role.ADMIN, now=NOW
        )
    add_target(server, run, seq)
    return {"token_id": token.split("_")[1], "token": token}


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server counts many wrong tokens before it answers otherwise."""
    monkeypatch.setattr(callers, "FAILURES_AT_ONCE", 10_000)


def test_without_a_token_every_call_is_401(patience: None, server: Running) -> None:
    found = list(described(server))
    assert len(found) >= 30
    for call in found:
        for token in (None, "tow_1a2b3c4d5e6f_" + "0" * 64, "x"):
            answer = send(server, call, token, token_id="1a2b3c4d5e6f")
            assert answer.status_code == 401, (call, answer.text)
            assert answer.headers["content-type"] == "application/problem+json", call
            assert answer.headers["www-authenticate"] == "Bearer", call


def test_wrong_tokens_are_counted_by_address_and_lock_out_nobody_who_has_a_right_one(
    server: Running,
) -> None:
    wrong = {"Authorization": "Bearer tow_1a2b3c4d5e6f_" + "0" * 64}
    url = f"{API}/devices"
    said = [server.client.get(url, headers=wrong).status_code for _ in range(22)]
    assert said == [401] * callers.FAILURES_AT_ONCE + [429] * 2
    refused = server.client.get(url, headers=wrong)
    assert (refused.status_code, refused.json()["code"]) == (429, "too-many-failures")
    assert 1 <= int(refused.headers["retry-after"]) <= 180
    guest = Guest(server)
    form = guest.get("/sign-in").form("/sign-in")
    assert guest.send(form, token="tow_x_y").status_code == 429
    assert server.client.get(url, headers=server.admin("viewer")).status_code == 200
    assert server.client.get(url).status_code == 401


def test_with_the_role_below_every_call_is_403(server: Running) -> None:
    tried = 0
    for call in described(server):
        if call.role is not Role.VIEWER:
            below = ROLES[ROLES.index(call.role) - 1]
            answer = send(server, call, server.tokens[below], token_id="1a2b3c4d5e6f")
            assert (answer.status_code, answer.json()["code"]) == (403, "role"), call
            tried += 1
    assert tried >= 15


def test_a_token_of_some_devices_reaches_nothing_but_those(
    server: Running, enrolled: Device, add_run: AddRun
) -> None:
    """`enrolled` has no label of the token's."""
    run = add_run("theirs")
    with server.store.write() as connection:
        limited = people.create_admin_token(
            connection,
            ORGANIZATION,
            name="Site",
            role=Role.OPERATOR,
            now=NOW,
            labels={"site": "berlin"},
        )
        seq = connection.execute(select(t.edge_devices.c.seq)).scalar_one()
    add_target(server, run, seq)
    reached = []
    for call in described(server):
        if call.role not in (Role.VIEWER, Role.OPERATOR):
            continue
        answer = send(server, call, limited, device=enrolled.id, verb="rollback")
        if not call.keeps_to_devices:
            assert (answer.status_code, answer.json()["code"]) == (403, "labels"), call
        elif call.names:
            assert answer.status_code == 404, (call, answer.text)
        else:
            assert answer.json()["devices"] == [], call
        reached += [call.path.removeprefix(API)] * call.keeps_to_devices
    assert reached == [
        "/deployments/{deployment}/devices/{device}/{verb}",
        "/devices",
        "/devices/{device}",
        "/devices/{device}/explain",
    ]
    with server.store.write() as connection:
        berlin = intern_labels(connection, {"site": "berlin", "model": "b"})
        connection.execute(update(t.edge_devices).values(label_set_id=berlin))
    headers = {"Authorization": f"Bearer {limited}"}
    for path in ("/devices", f"/devices/{enrolled.id}", f"/devices/{enrolled.id}/explain"):
        answer = server.client.get(f"{API}{path}", headers=headers)
        assert (answer.status_code, enrolled.id in answer.text) == (200, True), path
    retry = f"{API}/deployments/theirs/devices/{enrolled.id}/retry"
    answer = server.client.post(retry, headers=headers, json={"reason": "again"})
    assert answer.status_code in (200, 409), answer.text


def test_what_another_organization_has_is_404_everywhere(
    server: Running, theirs: dict[str, str]
) -> None:
    tried = 0
    for call in described(server):
        for name in ("theirs", "their-later"):
            if call.names:
                names = {"deployment": name, "token_id": theirs["token_id"]}
                answer = send(server, call, server.tokens["admin"], **names)
                assert answer.status_code == 404, (call, answer.status_code, answer.text)
                tried += 1
    assert tried >= 28


def test_no_list_shows_what_another_organization_has(
    server: Running, theirs: dict[str, str], add_run: AddRun
) -> None:
    add_run("only-ours")
    for call in described(server):
        if call.method == "GET" and not call.names and "stream" not in call.path:
            answer = send(server, call, server.tokens["admin"])
            assert answer.status_code == 200, (call, answer.text)
            assert "their" not in answer.text, call
            assert "Mallory" not in answer.text, call
            seen_by_them = send(server, call, theirs["token"])
            assert "only-ours" not in seen_by_them.text, call
