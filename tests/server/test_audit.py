"""The audit: every act of a person leaves one row, a refused one too, and nothing changes a row."""

from typing import Any

import pytest
from fastapi.routing import iter_route_contexts
from sqlalchemy import delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from tests.server.changing import (
    ACTS,
    API,
    BECAUSE,
    DEVICE_VERB,
    HELLO,
    REASON,
    VERB,
    call,
    prepare,
    rows,
)
from tests.server.conftest import NOW, AddRun, Device, Running, wall
from tests.server.described import application_at
from tests.server.test_admin_create import Fleet, fleet
from tests.server.test_serve import settings
from tests.server.visiting import PAGE, Guest
from towline.reconciler.server.desk import Desks
from towline.reconciler.store import people
from towline.reconciler.store import tables as t
from towline.reconciler.store.engine import Store
from towline.reconciler.store.people import Role
from towline.schemas.identifiers import device_uuid

__all__ = ["fleet", "settings"]

PAGE_ROUTES = {
    "/sign-in": "dashboard.sign-in",
    "/sign-out": "dashboard.sign-out",
    VERB: "deployment.pause",
    DEVICE_VERB: "device.retry",
}
ELSEWHERE = {"/deployments"}
PAGES_ELSEWHERE = {
    "/git/accept",
    "/new/{step}",
    "/enrolments/{device}/{fingerprint}/approve",
    "/enrolments/{device}/{fingerprint}/deny",
}
"""Tried with a repository, and with keys that wait."""


@pytest.fixture
def busy(server: Running, enrolled: Device, add_run: AddRun) -> Running:
    """A server where each act can be done."""
    return prepare(server, enrolled, add_run)


def test_every_act_leaves_one_row_with_its_person(busy: Running) -> None:
    for number, act in enumerate(ACTS, start=1):
        answer = call(busy, act, **{"X-Request-Id": f"request-{number}"})
        assert answer.status_code in (200, 201), (act.path, answer.text)
        assert answer.headers["x-request-id"] == f"request-{number}"
        found = rows(busy)
        assert len(found) == number, act.path
        row = found[0]
        assert (row["action"], row["result"]) == (act.action, "done")
        assert (row["person"], row["role"]) == (f"{act.role} person", act.role)
        assert busy.tokens[act.role].split("_")[1] == row["token"]
        uuid = str(device_uuid("acme", act.device)) if act.device else None
        assert (row["deployment"], row["device"]) == (act.deployment, uuid)
        # A key that was denied is of no device, and nobody is called so.
        assert row["device_id"] == (None if act.action == "device.deny" else act.device)
        assert not act.detail or act.detail in row["detail"], row
        assert row["detail"].get("reason") == act.body.get("reason")
        assert row["request"] == f"request-{number}"


def test_every_act_at_the_dashboard_leaves_one_row(busy: Running) -> None:
    guest = Guest(busy).sign_in()
    fields = {"reason": REASON, "seen": "in_progress"}
    form = guest.get().form("/sign-out")
    for path in (f"{HELLO}/pause", f"{HELLO}/devices/pi-0001/retry", "/sign-out"):
        form.action = f"{PAGE}{path}"
        assert guest.send(form, **fields).status_code == 303
    found = rows(busy)
    assert [row["action"] for row in reversed(found)] == [
        "dashboard.sign-in",
        "deployment.pause",
        "device.retry",
        "dashboard.sign-out",
    ]
    assert {row["person"] for row in found} == {"operator person"}
    assert len({row["request"] for row in found}) == 4


def test_a_made_deployment_is_told_with_its_commit(fleet: Fleet) -> None:
    made = fleet.made(key="once")
    assert fleet.made(key="once") == made
    again = fleet.post()
    assert again.status_code == 409
    refused, done = fleet.client.get(f"{API}/audit", headers=fleet.headers("admin")).json()["acts"][
        :2
    ]
    assert (done["action"], done["result"], done["object"]) == (
        "deployment.create", "done", made["deployment_id"],
    )  # fmt: skip
    assert (done["deployment"], done["detail"]["commit"]) == (made["name"], made["commit"])
    assert (refused["result"], refused["detail"]["refusal"]) == ("refused", again.json()["detail"])


def test_the_tables_here_know_every_changing_route(store: Store) -> None:
    desks = Desks(store, lambda name: pytest.fail(f"{name} was looked for"))
    known = {
        *(f"{API}{act.route}" for act in ACTS),
        *(f"{API}{route}" for route in ELSEWHERE),
        *(f"{PAGE}{route}" for route in (*PAGE_ROUTES, *PAGES_ELSEWHERE)),
    }
    changing = {
        str(route.path)
        for route in iter_route_contexts(application_at(desks).routes)
        if route.methods and route.methods - {"GET", "HEAD"}
    }
    assert changing == known, "a route that changes something belongs into ACTS here"


@pytest.mark.parametrize(
    ("path", "status", "result"),
    [
        (f"{HELLO}/resume", 409, ["refused"]),
        ("/deployments/later/retry", 409, ["refused"]),
        ("/deployments/nothing/pause", 404, []),
        (f"{HELLO}/explode", 422, []),
    ],
)
def test_what_the_state_refuses_is_told_and_nothing_else(
    busy: Running, path: str, status: int, result: list[str]
) -> None:
    answer = busy.client.post(f"{API}{path}", json=BECAUSE, headers=busy.admin("operator"))
    assert answer.status_code == status
    found = rows(busy)
    assert [row["result"] for row in found] == result
    assert [row["detail"]["refusal"] for row in found] == [answer.json()["detail"]] * len(found)
    forbidden = busy.client.post(f"{API}{path}", json=BECAUSE, headers=busy.admin("viewer"))
    assert (forbidden.status_code, len(rows(busy))) == (403, len(found))


def test_an_act_and_its_row_are_one_transaction(busy: Running) -> None:
    with busy.store.write() as connection:
        connection.exec_driver_sql(
            "CREATE TRIGGER no_audit BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'no'); END"
        )
    answer = call(busy, ACTS[0])
    assert answer.status_code == 500
    with busy.store.read() as connection:
        assert not connection.execute(select(t.holds)).all()


@pytest.mark.parametrize(
    "statement",
    [
        update(t.audit).values(person="nobody"),
        delete(t.audit),
        insert(t.audit).prefix_with("OR REPLACE").values(
            id=1, at=0, organization="acme", person="x", token_id="", role="", action="",
            object="", detail="{}", result="", request="",
        ),
        insert(t.audit).prefix_with("OR REPLACE").values(
            id=99, number=1, at=0, organization="acme", person="x", token_id="", role="",
            action="", object="", detail="{}", result="", request="",
        ),
    ],
    ids=["update", "delete", "replace", "replace by number"],
)  # fmt: skip
def test_nothing_changes_a_row(busy: Running, statement: Any) -> None:
    call(busy, ACTS[0])
    before = rows(busy)
    refuses = pytest.raises(IntegrityError, match="append-only")
    with refuses, busy.store.write() as connection:
        connection.execute(statement)
    assert rows(busy) == before


def test_the_audit_is_read_in_pages_and_by_filters(busy: Running) -> None:
    call(busy, ACTS[0])
    call(busy, ACTS[1])
    call(busy, ACTS[6])
    now = wall()

    def ids(**query: Any) -> list[int]:
        answer = busy.client.get(f"{API}/audit", params=query, headers=busy.admin())
        return [row["id"] for row in answer.json()["acts"]]

    every = ids()
    first = busy.client.get(f"{API}/audit", params={"limit": 2}, headers=busy.admin()).json()
    assert [row["id"] for row in first["acts"]] == every[:2]
    assert ids(cursor=first["next_cursor"]) == every[2:]
    assert ids(deployment="hello") == every[1:]
    assert ids(person="admin person") == ids(person=busy.tokens["admin"].split("_")[1]) == every[:1]
    assert ids(action="deployment") == every[1:]
    assert ids(action="deployment.resume") == every[1:2]
    assert ids(since=now - 60) == ids(until=now + 60) == every
    assert ids(since=now + 60) == ids(until=now - 60) == []


def test_only_an_admin_reads_the_audit(server: Running) -> None:
    answers = {
        role: server.client.get(f"{API}/audit", headers=server.admin(role)).status_code
        for role in server.tokens
    }
    assert answers == {"viewer": 403, "planner": 403, "operator": 403, "admin": 200}


def test_the_audit_of_another_organization_is_not_seen(busy: Running) -> None:
    call(busy, ACTS[0])
    with busy.store.write() as connection:
        token = people.create_admin_token(connection, "beta", name="Bea", role=Role.ADMIN, now=NOW)
    answer = busy.client.get(f"{API}/audit", headers={"Authorization": f"Bearer {token}"})
    assert answer.json() == {"organization": "beta", "acts": [], "next_cursor": None}
