"""Every call of people that changes something, as a table, on a server where each can be done."""

from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx
from sqlalchemy import insert, update

from tests.server.conftest import (
    NOW,
    ORGANIZATION,
    AddRun,
    Device,
    Running,
    add_batch,
    add_target,
    wall,
)
from tests.server.test_device import device_seq
from tests.server.test_plans import files
from towline.reconciler.store import enrolling
from towline.reconciler.store import tables as t
from towline.reconciler.store.device_keys import fingerprint
from towline.schemas.enrolment import EnrolmentRequest
from towline.schemas.keys import PublicKey

API = "/api/v1/admin/ota"
REASON = "the pump team asked"
KEY = PublicKey.from_hex("ab" * 32)
"""Of devices that wait for an approval."""


@dataclass(frozen=True)
class Act:
    """One call that changes something, and what the audit tells of it."""

    route: str
    path: str
    body: dict[str, Any]
    action: str
    detail: str = "reason"
    """What its detail holds."""
    role: str = "operator"
    deployment: str | None = None
    device: str | None = None
    method: str = "POST"


BECAUSE = {"reason": REASON}
HELLO = "/deployments/hello"
VERB = "/deployments/{deployment}/{verb}"
DEVICE_VERB = "/deployments/{deployment}/devices/{device}/{verb}"
REVOKE = "/tokens/{token_id}/revoke"


def on_hello(verb: str, detail: str = "reason", **body: str) -> Act:
    asked = BECAUSE | body
    return Act(VERB, f"{HELLO}/{verb}", asked, f"deployment.{verb}", detail, deployment="hello")


def by_admin(path: str, action: str, detail: str, route: str = "", **body: Any) -> Act:
    return Act(route or path, path, body, action, detail, role="admin")


def on_token(verb: str) -> Act:
    route = f"/devices/{{device}}/token{verb}"
    body = {"": {"device_type": "raspberry_pi"}, "/rotate": {}, "/revoke": BECAUSE}[verb]
    action = f"device-token.{verb.removeprefix('/') or 'create'}"
    path = f"/devices/old-1/token{verb}"
    return Act(route, path, body, action, "", role="admin", device="old-1")


def on_key(verb: str, device: str) -> Act:
    body = BECAUSE | {"fingerprint": fingerprint(KEY)}
    path, route = f"/devices/{device}/{verb}", f"/devices/{{device}}/{verb}"
    return Act(route, path, body, f"device.{verb}", "fingerprint", role="admin", device=device)


ACTS = (
    on_hello("pause", "pause_s", **{"for": "4h"}),
    on_hello("resume"),
    Act(
        DEVICE_VERB,
        f"{HELLO}/devices/pi-0001/retry",
        BECAUSE,
        "device.retry",
        deployment="hello",
        device="pi-0001",
    ),
    on_hello("cancel", "did"),
    Act(VERB, "/deployments/later/pause", BECAUSE, "deployment.pause", deployment="later"),
    by_admin("/repository/accept", "repository.accept", "reason", reason=REASON, commit="ab" * 20),
    by_admin("/join-tokens", "join-token.create", "labels", labels={"site": "oslo"}),
    by_admin("/tokens", "token.create", "role", name="Bo", role="viewer"),
    by_admin("/tokens/{viewer}/revoke", "token.revoke", "reason", REVOKE, reason=REASON),
    Act(
        "/old-devices",
        "/old-devices",
        {"allowed": True, "reason": REASON},
        "old-devices.allow",
        role="admin",
        method="PUT",
    ),
    on_token(""),
    on_token("/rotate"),
    on_token("/revoke"),
    on_key("approve", "new-1"),
    on_key("deny", "new-2"),
    Act(
        "/devices/{device}/replace",
        "/devices/new-1/replace",
        BECAUSE | {"by": "pi-0001"},
        "device.replace",
        "by",
        role="admin",
        device="new-1",
    ),
    Act(
        "/devices/{device}/revoke",
        "/devices/pi-0001/revoke",
        BECAUSE,
        "device.revoke",
        role="admin",
        device="pi-0001",
    ),
    Act(
        "/devices/{device}/labels",
        "/devices/pi-0001/labels",
        {"labels": {"site": "oslo"}, "reason": REASON},
        "device.label",
        "labels",
        device="pi-0001",
        method="PUT",
    ),
    Act(
        "/devices/{device}/delete",
        "/devices/new-1/delete",
        BECAUSE,
        "device.delete",
        role="admin",
        device="new-1",
    ),
    Act("/plan", "/plan", {"record": True}, "plan.record", "deployments", role="planner"),
)


def prepare(server: Running, enrolled: Device, add_run: AddRun) -> Running:
    """A run, a failed device, a Deployment that waits for its merge, and a held commit."""
    assert enrolled.id == "pi-0001"
    run = add_run(target_count=1)
    add_batch(server, run)
    add_target(server, run, device_seq(server), status="failed", reason="HealthCheckFailed")
    with server.store.write() as connection:
        for slug in ("new-1", "new-2"):
            asked = EnrolmentRequest(ORGANIZATION, slug, KEY, "raspberry_pi", "0.1.0")
            enrolling.enrol(
                connection, asked, git=None, join_token=None, source="192.0.2.7", now=wall()
            )
        connection.execute(update(t.repositories).values(held_commit="ab" * 20))
        connection.execute(insert(t.merge_requests), waiting("later"))
    return server


def waiting(name: str) -> dict[str, Any]:
    """A row of a Deployment that waits for its merge."""
    told = {"update_package_url": "", "checksum": "", "release_notes": ""}
    return {
        "id": uuid4(),
        "organization": ORGANIZATION,
        "name": name,
        "revision": "ef" * 32,
        "branch": "towline/later",
        "compare": "",
        "title": name,
        "status": "pending",
        "author": "Ada <ada@acme>",
        "created_by": uuid4(),
        "created_at": NOW,
        "metadata": {
            "component": name,
            "target_version": "1.0.0",
            "rollout_strategy": "canary",
            "rollout_percentage": 10,
            "target_devices": 1,
            "turn": 0,
            "commit": "cd" * 20,
            "metadata": told,
        },
    }


def rows(server: Running) -> list[dict[str, Any]]:
    answer = server.client.get(f"{API}/audit", headers=server.admin())
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["acts"]
    return found


def call(server: Running, act: Act, **headers: str) -> httpx.Response:
    path = act.path.format(viewer=server.tokens["viewer"].split("_")[1])
    body = dict(act.body)
    if act.route == "/plan":
        body["head"] = {"commit": "f" * 40, "files": files(server)}
    sent = server.admin(act.role) | {"If-Match": "*"} | headers
    return server.client.request(act.method, f"{API}{path}", json=body, headers=sent)
