"""Admin tokens: what each role may call, how a token ends, and that an admin always stays."""

from typing import Any

import httpx
import pytest
from sqlalchemy import select, update

from tests.server.conftest import NOW, ORGANIZATION, AddRun, Running, wall
from towline.reconciler.store import people
from towline.reconciler.store import tables as t
from towline.reconciler.store.people import Role
from towline.schemas import times

API = "/api/v1/admin/ota"
TOKENS = f"{API}/tokens"
MAY = {
    "viewer": (200, 403, 403, 403, 403),
    "planner": (200, 403, 403, 403, 403),
    "operator": (200, 200, 403, 403, 403),
    "admin": (200, 200, 200, 201, 200),
}
"""Per role the answers to: a read, a verb, and listing, creating and revoking tokens."""


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def create(server: Running, role: str = "viewer", **more: Any) -> dict[str, Any]:
    body = {"name": f"new {role}", "role": role, **more}
    answer = server.client.post(TOKENS, json=body, headers=server.admin())
    assert answer.status_code == 201
    document: dict[str, Any] = answer.json()
    return document


def revoke(server: Running, token_id: str, headers: dict[str, str] | None = None) -> httpx.Response:
    return server.client.post(
        f"{TOKENS}/{token_id}/revoke",
        json={"reason": "left the team"},
        headers=headers or server.admin(),
    )


def id_of(token: str) -> str:
    return token.split("_")[1]


def listed(server: Running, token_id: str) -> dict[str, Any]:
    tokens = server.client.get(TOKENS, headers=server.admin()).json()["tokens"]
    (found,) = (token for token in tokens if token["id"] == token_id)
    assert isinstance(found, dict)
    return found


def change(server: Running, token_id: str, **values: Any) -> None:
    with server.store.write() as connection:
        connection.execute(
            update(t.admin_tokens).where(t.admin_tokens.c.id == token_id).values(**values)
        )


@pytest.mark.parametrize("role", MAY)
def test_each_role_may_do_what_its_table_says(server: Running, add_run: AddRun, role: str) -> None:
    add_run()
    other = create(server)["id"]
    headers = bearer(create(server, role)["token"])
    post, reason = server.client.post, {"reason": "because"}
    answers = (
        server.client.get(f"{API}/deployments", headers=headers),
        post(f"{API}/deployments/hello/pause", json=reason, headers=headers),
        server.client.get(TOKENS, headers=headers),
        post(TOKENS, json={"name": "x", "role": "viewer"}, headers=headers),
        revoke(server, other, headers),
    )
    assert tuple(answer.status_code for answer in answers) == MAY[role]
    assert (listed(server, other)["revoked_at"] is None) == (role != "admin")


def test_a_list_shows_every_token_and_no_secret(server: Running) -> None:
    before = wall()
    made = create(server, "planner", expires_in_s=60)
    answer = server.client.get(TOKENS, headers=server.admin())
    assert [token["role"] for token in answer.json()["tokens"]].count("planner") == 2
    found = listed(server, made["id"])
    life = times.from_rfc3339(found["expires_at"]) - times.from_rfc3339(found["created_at"])
    assert (found["name"], found["role"], life) == ("new planner", "planner", 60)
    assert times.from_rfc3339(found["created_at"]) >= before
    assert found.keys() == {
        "id", "name", "role", "labels", "created_at", "expires_at", "last_used_at", "revoked_at",
    }  # fmt: skip
    assert made["token"].split("_")[2] not in answer.text


def test_a_revoked_token_is_401_from_then_on(server: Running) -> None:
    made = create(server)
    headers = bearer(made["token"])
    assert server.client.get(f"{API}/devices", headers=headers).status_code == 200
    assert revoke(server, made["id"]).json()["revoked_at"] is not None
    refused = server.client.get(f"{API}/devices", headers=headers)
    assert (refused.status_code, refused.json()["detail"]) == (
        401,
        "this admin token is unknown, expired or revoked",
    )


def test_an_expired_token_is_401(server: Running) -> None:
    made = create(server, expires_in_s=3600)
    headers = bearer(made["token"])
    assert server.client.get(f"{API}/devices", headers=headers).status_code == 200
    change(server, made["id"], expires_at=wall())
    assert server.client.get(f"{API}/devices", headers=headers).status_code == 401


def test_an_unknown_token_is_404_and_a_revoked_one_409(server: Running) -> None:
    made = create(server)
    assert revoke(server, "nothing").status_code == 404
    assert revoke(server, made["id"]).status_code == 200
    again = revoke(server, made["id"])
    assert (again.status_code, again.json()["code"]) == (409, "not-allowed")
    assert "was revoked at" in again.json()["detail"]


@pytest.mark.parametrize("other", [{"revoked_at": NOW}, {"expires_at": NOW}])
def test_the_last_live_admin_token_stays(server: Running, other: dict[str, int]) -> None:
    last = id_of(server.tokens["admin"])
    change(server, create(server, "admin")["id"], **other)
    refused = revoke(server, last)
    assert (refused.status_code, refused.json()["code"]) == (409, "not-allowed")
    assert "last live admin token" in refused.json()["detail"]
    create(server, "admin")
    assert revoke(server, last).status_code == 200


def test_an_expired_admin_token_can_be_revoked(server: Running) -> None:
    old = create(server, "admin")["id"]
    change(server, old, expires_at=NOW)
    assert revoke(server, old).status_code == 200


def test_another_organizations_tokens_are_neither_seen_nor_revoked(server: Running) -> None:
    with server.store.write() as connection:
        theirs = people.create_admin_token(
            connection, "other", name="stranger", role=Role.ADMIN, now=NOW
        )
        people.create_admin_token(connection, "other", name="second", role=Role.ADMIN, now=NOW)
    assert revoke(server, id_of(theirs)).status_code == 404
    assert revoke(server, id_of(server.tokens["viewer"]), bearer(theirs)).status_code == 404
    tokens = server.client.get(TOKENS, headers=bearer(theirs)).json()["tokens"]
    assert {token["name"] for token in tokens} == {"stranger", "second"}


def test_creating_and_revoking_are_events_with_their_author(server: Running) -> None:
    made = create(server)
    revoke(server, made["id"])
    answer = server.client.get(f"{API}/events", headers=server.admin())
    created, revoked = answer.json()["events"]
    assert (created["kind"], created["cause"]) == ("token.created", "create by admin person")
    assert (revoked["kind"], revoked["cause"]) == ("token.revoked", "revoke by admin person")
    assert revoked["message"] == f"{made['id']} (new viewer): left the team"
    assert made["token"].split("_")[2] not in answer.text


@pytest.mark.parametrize(("age_s", "is_noted"), [(None, True), (61, True), (30, False)])
def test_the_last_use_is_noted_once_a_minute(
    server: Running, age_s: int | None, *, is_noted: bool
) -> None:
    token_id = id_of(server.tokens["viewer"])
    begin = wall()
    before = None if age_s is None else begin - age_s
    change(server, token_id, last_used_at=before)
    assert server.client.get(f"{API}/devices", headers=server.admin("viewer")).status_code == 200
    with server.store.read() as connection:
        column = t.admin_tokens.c.last_used_at
        noted = connection.execute(
            select(column).where(t.admin_tokens.c.id == token_id)
        ).scalar_one()
    assert noted >= begin if is_noted else noted == before


@pytest.mark.parametrize(
    "body",
    [
        {"name": "", "role": "viewer"},
        {"name": "two\nlines", "role": "viewer"},
        {"name": " ada", "role": "viewer"},
        {"name": "ada", "role": "root"},
        {"name": "ada", "role": "viewer", "expires_in_s": 0},
        {"name": "ada", "role": "viewer", "organization": "other"},
    ],
)
def test_a_wrong_wish_is_422(server: Running, body: dict[str, Any]) -> None:
    answer = server.client.post(TOKENS, json=body, headers=server.admin())
    assert (answer.status_code, answer.json()["code"]) == (422, "bad-field")


def test_a_token_is_of_its_creators_organization(server: Running) -> None:
    made = create(server)
    with server.store.read() as connection:
        person = people.find_person(connection, made["token"], wall())
    assert person is not None
    assert person.organization == ORGANIZATION
