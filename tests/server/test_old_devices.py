"""check-update and status over HTTP: who is let in, what is refused, and how tokens come and go."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from sqlalchemy import select, update

from tests.server.conftest import AddRun, Device, Running, add_target, run_values
from tests.server.test_admin import API
from towline.manifests.model import DeviceEntry
from towline.reconciler.head import CommitSeen, Head
from towline.reconciler.server import device_rates
from towline.reconciler.store import tables as t

OLD = "pi-0042"


@dataclass
class OldDevice:
    """A device of former days: an id and a token."""

    server: Running
    token: str
    id: str = OLD

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"TargetToken {self.token}"}

    def check(self, device_id: str | None = None, **headers: str) -> httpx.Response:
        return self.server.client.get(
            "/api/v1/ota/check-update",
            params={"device_id": device_id or self.id},
            headers=self.headers | headers,
        )

    def say(self, run: str, body: Any, device_id: str | None = None) -> httpx.Response:
        return self.server.client.post(
            f"/api/v1/ota/deployments/{run}/status",
            params={"device_id": device_id or self.id},
            headers=self.headers,
            json=body,
        )


def call(server: Running, verb: str, path: str, role: str = "admin", **body: Any) -> httpx.Response:
    return server.client.request(verb, API + path, headers=server.admin(role), json=body or None)


@pytest.fixture
def old(server: Running) -> Iterator[OldDevice]:
    """An old device that is let in."""
    assert call(server, "PUT", "/old-devices", allowed=True).status_code == 200
    answer = call(server, "POST", f"/devices/{OLD}/token", device_type="raspberry_pi")
    assert answer.status_code == 201, answer.text
    yield OldDevice(server, answer.json()["token"])


@pytest.fixture
def run(server: Running, old: OldDevice, add_run: AddRun) -> str:
    """A run that granted the old device."""
    run_seq = add_run(target_count=1, metadata={"release_notes": "Bug fixes"})
    with server.store.read() as connection:
        seq = connection.execute(select(t.edge_devices.c.seq)).scalar_one()
        run_id = connection.execute(select(t.runs.c.id)).scalar_one()
    add_target(server, run_seq, seq)
    return str(run_id)


def test_nothing_is_offered_where_nothing_is_wanted(old: OldDevice) -> None:
    answer = old.check()
    assert (answer.status_code, answer.json()) == (200, {"update_available": False})
    assert answer.headers["cache-control"] == "no-store"


def test_whoever_looks_at_it_is_told_that_it_verifies_nothing(old: OldDevice) -> None:
    assert call(old.server, "GET", f"/devices/{OLD}").json()["verifiesSignatures"] is False
    story = call(old.server, "GET", f"/devices/{OLD}/explain").json()["text"]
    assert "It is an old device and verifies no signature" in story


def test_the_contracts_answer_and_the_contracts_steps(old: OldDevice, run: str) -> None:
    assert old.check().json() == {
        "update_available": True,
        "deployment_id": run,
        "target_version": "1.0.0",
        "update_package_url": f"{old.server.url}/packages/hello.tar.gz",
        "checksum": f"sha256:{'ab' * 32}",
        "release_notes": "Bug fixes",
    }
    for word in ("downloading", "downloading", "installing", "verifying", "completed"):
        answer = old.say(run, {"status": word, "error_message": None})
        assert answer.status_code == 200, answer.text
        assert answer.json() == {"status": "success", "message": f"Status updated to {word}"}
    assert old.check().json() == {"update_available": False}
    shown = call(old.server, "GET", "/deployments/hello").json()["devices"]
    assert [each["current_version"] for each in shown] == ["1.0.0"]


def test_a_word_that_is_none_is_refused(old: OldDevice, run: str) -> None:
    table: list[tuple[Any, int, str]] = [
        ({"status": "pending"}, 422, "status: one of downloading, installing, verifying"),
        ({"status": "skipped"}, 422, "status: one of"),
        ({"status": ["completed"]}, 422, "status: one of"),
        ({}, 422, "status: one of"),
        ({"status": "failed", "error_message": 5}, 422, "error_message: a text or null"),
        ([], 400, "an object is expected"),
    ]
    for body, status, says in table:
        answer = old.say(run, body)
        assert (answer.status_code, says in answer.json()["detail"]) == (status, True), body
        assert answer.headers["content-type"] == "application/problem+json"


def test_a_step_back_is_409_and_says_where_the_device_is(old: OldDevice, run: str) -> None:
    assert old.say(run, {"status": "verifying"}).status_code == 200
    answer = old.say(run, {"status": "downloading"})
    assert answer.status_code == 409
    assert "is verifying here already" in answer.json()["detail"]


def test_a_deployment_that_it_has_no_part_in_is_404(
    server: Running, old: OldDevice, add_run: AddRun
) -> None:
    values = run_values(server, "theirs")
    add_run("theirs", organization="other", id=values["id"])
    for run in (str(values["id"]), "no-uuid", "6f0f1c1e-6b8a-5d0c-9f5e-3f3b7a3f2d11"):
        assert old.say(run, {"status": "downloading"}).status_code == 404


def test_only_its_token_lets_a_device_in(old: OldDevice) -> None:
    table = {
        "": 401,
        "TargetToken": 401,
        f"Bearer {old.token}": 401,
        f"targettoken {old.token}": 401,
        f"TargetToken  {old.token}": 401,
        f"TargetToken x{old.token}": 401,
        f"TargetToken {old.token}": 200,
    }
    for authorization, status in table.items():
        answer = old.check(Authorization=authorization)
        assert answer.status_code == status, authorization
        assert ("www-authenticate" in answer.headers) is (status == 401)


def test_the_token_is_of_one_device_by_id_or_uuid(old: OldDevice) -> None:
    uuid = call(old.server, "GET", f"/devices/{OLD}").json()["uuid"]
    answers = [old.check(name).status_code for name in (OLD, uuid, "pi-0043", "'; --")]
    assert answers == [200, 200, 403, 403]
    missing = old.server.client.get("/api/v1/ota/check-update", headers=old.headers)
    assert (missing.status_code, missing.json()["detail"]) == (422, "device_id is missing")


def test_where_its_packages_lie_is_no_host_of_anybody(old: OldDevice) -> None:
    for host in ("a/x", "me@a.example", "a.example:1/x"):
        answer = old.check(Host=host)
        assert (answer.status_code, answer.json()["detail"]) == (400, "Host"), host


def test_who_is_shut_out_or_revoked_stays_out(old: OldDevice) -> None:
    assert call(old.server, "PUT", "/old-devices", allowed=False).status_code == 200
    answer = old.check()
    assert (answer.status_code, answer.json()["code"]) == (403, "old-devices")
    assert "towline device token allow" in answer.json()["detail"]
    assert call(old.server, "PUT", "/old-devices", allowed=True).json() == {
        "allowed": True,
        "devices": 1,
    }
    with old.server.store.write() as connection:
        connection.execute(update(t.edge_devices).values(state="revoked"))
    assert old.check().status_code == 401


def test_old_devices_are_shut_out_from_the_first(server: Running) -> None:
    assert call(server, "GET", "/old-devices").json() == {"allowed": False, "devices": 0}


def test_a_rotated_token_replaces_the_former_one_at_once(old: OldDevice) -> None:
    fresh = call(old.server, "POST", f"/devices/{OLD}/token/rotate").json()["token"]
    assert old.check().status_code == 401
    assert OldDevice(old.server, fresh).check().status_code == 200
    end = call(old.server, "POST", f"/devices/{OLD}/token/revoke", reason="scrapped")
    assert end.json() == {"status": "revoked", "device_id": OLD}
    assert OldDevice(old.server, fresh).check().status_code == 401


def test_of_a_token_only_the_digest_is_kept(old: OldDevice) -> None:
    with old.server.store.read() as connection:
        (kept,) = connection.execute(select(t.device_tokens)).all()
    assert old.token not in str(kept)
    assert len(old.token) == 64


def test_what_no_token_is_given_for(server: Running, enrolled: Device, old: OldDevice) -> None:
    refused = {
        f"/devices/{enrolled.id}/token": (409, "a key of its own"),
        f"/devices/{OLD}/token": (409, "towline device token rotate pi-0042"),
        f"/devices/{enrolled.id}/token/rotate": (409, "has no token"),
        "/devices/ghost/token": (404, "puts it into the inventory"),
        "/devices/ghost/token/rotate": (404, "no device ghost"),
    }
    for path, (status, says) in refused.items():
        answer = call(server, "POST", path)
        assert (answer.status_code, says in answer.json()["detail"]) == (status, True), path
    answer = call(server, "POST", f"/devices/{enrolled.id}/token/revoke", reason="scrapped")
    assert (answer.status_code, "has no token" in answer.json()["detail"]) == (409, True)


def test_a_new_device_has_labels_and_is_never_taken_by_a_key(
    server: Running, old: OldDevice
) -> None:
    labels = {"stage": "lab", "shop": "متجر"}
    made = call(server, "POST", "/devices/pi-9/token", device_type="camera", labels=labels)
    assert made.status_code == 201
    shown = call(server, "GET", "/devices/pi-9").json()
    assert (shown["deviceType"], shown["labels"]) == ("camera", labels)
    assert Device(server, "pi-9").enrol(server.join_token()).status_code == 409


def test_what_git_says_of_a_new_device_holds(server: Running) -> None:
    entries = {
        "gone": DeviceEntry("gone", "gone.yaml", revoked=True),
        "keyed": DeviceEntry("keyed", "keyed.yaml", public_key="ed25519:" + "ab" * 32),
        "known": DeviceEntry("known", "known.yaml", (("ring", "one"),), device_type="camera"),
    }
    server.heads.append(Head("acme", CommitSeen("f" * 40), server.root, devices=entries))
    for name, says in (("gone", "`state: revoked`: gone.yaml"), ("keyed", "names a key")):
        answer = call(server, "POST", f"/devices/{name}/token", device_type="camera")
        assert (answer.status_code, says in answer.json()["detail"]) == (409, True), name
    assert call(server, "POST", "/devices/known/token").status_code == 201
    shown = call(server, "GET", "/devices/known").json()
    assert (shown["deviceType"], shown["labels"]) == ("camera", {"ring": "one"})


def test_labels_that_are_none_are_refused(server: Running) -> None:
    for labels in (
        {"": "x"},
        {"a b": "x"},
        {"stage": ""},
        {"stage": "a\nb"},
        {"stage": "x" * 64},
        {"stage": " x"},
    ):
        answer = call(server, "POST", "/devices/pi-9/token", device_type="camera", labels=labels)
        assert answer.status_code == 422, labels


def test_wrong_tokens_are_counted_by_address_and_lock_out_nobody_who_has_a_right_one(
    little_patience: int, old: OldDevice
) -> None:
    stranger = OldDevice(old.server, "tt_wrong")
    said = [stranger.check().status_code for _ in range(little_patience + 1)]
    assert said == [401] * little_patience + [429]
    assert stranger.say("x", {}).json()["code"] == "too-many-failures"
    assert old.check().status_code == 200


def test_an_old_device_that_calls_too_often_is_asked_to_come_later(
    old: OldDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device_rates, "BURST_S", 0.1)
    answers = [old.check() for _ in range(20)]
    assert {answer.status_code for answer in answers[:4]}.isdisjoint({429})
    late = next(answer for answer in answers if answer.status_code == 429)
    assert (late.json()["code"], late.headers["retry-after"]) == ("too-many-calls", "1")
