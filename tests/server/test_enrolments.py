"""What people do about enrolment: approve, deny, revoke; by the API, and what comes of it."""

from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

import httpx
import pytest
from sqlalchemy import insert, select, update

from tests.server.conftest import AddRun, Device, Running, wall
from tests.server.test_device import code_of
from towline.manifests.model import DeviceEntry
from towline.reconciler.store import tables as t
from towline.reconciler.store.device_keys import fingerprint
from towline.reconciler.store.enrolling import PENDING_LIFE_S

API = "/api/v1/admin/ota"


def say(server: Running, verb: str, device: Device, **body: Any) -> httpx.Response:
    """`approve` or `deny` the key of a device."""
    asked = {"fingerprint": fingerprint(device.key.public), "reason": "seen"} | body
    url = f"{API}/devices/{device.id}/{verb}"
    return server.client.post(url, json=asked, headers=server.admin())


def revoke(server: Running, device: Device) -> httpx.Response:
    url = f"{API}/devices/{device.id}/revoke"
    return server.client.post(url, json={"reason": "stolen"}, headers=server.admin())


def waiting(server: Running) -> list[dict[str, Any]]:
    answer = server.client.get(f"{API}/enrolments", headers=server.admin("viewer"))
    found: list[dict[str, Any]] = answer.json()["enrolments"]
    return found


def shown(server: Running, device: Device) -> dict[str, Any]:
    answer = server.client.get(f"{API}/devices/{device.id}", headers=server.admin("viewer"))
    found: dict[str, Any] = answer.json()
    return found


def events(server: Running) -> list[str]:
    with server.store.read() as connection:
        return list(connection.execute(select(t.events.c.kind).order_by(t.events.c.id)).scalars())


def test_who_waits_is_no_device_until_a_person_approves_its_fingerprint(
    server: Running, add_run: AddRun
) -> None:
    device = Device(server)
    add_run()
    assert device.enrol().status_code == 202
    (found,) = waiting(server)
    assert found["fingerprint"] == device.enrol().json()["fingerprint"]
    assert (found["device_id"], found["source"], found["key_change"]) == (
        "pi-0001", "127.0.0.1", None,
    )  # fmt: skip
    assert shown(server, device)["code"] == "not-found"
    answer = say(server, "approve", device, fingerprint="0000-0000-0000-0000")
    assert (answer.status_code, found["fingerprint"] in answer.text) == (404, True)
    assert say(server, "approve", device).json() == {
        "status": "accepted", "device_id": "pi-0001", "key_changed": False,
    }  # fmt: skip
    assert server.wakes.is_set()
    assert waiting(server) == []
    assert device.open().status_code == 200
    assert shown(server, device)["fingerprint"] == found["fingerprint"]
    assert events(server) == ["device.pending", "device.enrolled"]


def test_who_is_denied_waits_no_longer_and_may_ask_again(server: Running) -> None:
    device = Device(server)
    device.enrol()
    assert say(server, "deny", device).status_code == 200
    assert waiting(server) == []
    assert say(server, "approve", device).status_code == 404
    assert device.enrol().status_code == 202


def test_a_request_is_forgotten_after_a_day(server: Running) -> None:
    device = Device(server)
    device.enrol()
    with server.store.write() as connection:
        connection.execute(update(t.enrolments).values(created_at=wall() - PENDING_LIFE_S))
    assert waiting(server) == []
    assert say(server, "approve", device).status_code == 404


def test_an_approved_change_of_the_key_ends_the_former_one_and_keeps_the_rest(
    server: Running, enrolled: Device
) -> None:
    labels = {"labels": {"site": "oslo"}}
    headers = server.admin() | {"If-Match": "*"}
    path = f"{API}/devices/pi-0001/labels"
    assert server.client.put(path, json=labels, headers=headers).status_code == 200
    seq = shown(server, enrolled)["seq"]
    with server.store.write() as connection:
        bad = {"device_seq": seq, "component": "hello", "known_bad": "ab" * 32}
        connection.execute(insert(t.device_components).values(**bad))
    follower = Device(server, enrolled.id)
    assert follower.enrol(device_type="camera").json()["keyChange"] is True
    (found,) = waiting(server)
    assert found["key_change"] == {
        "fingerprint": fingerprint(enrolled.key.public),
        "device_type": "raspberry_pi",
        "state": "active",
    }
    assert say(server, "approve", follower).json()["key_changed"] is True
    assert code_of(enrolled.poll()) == (401, "session")
    assert code_of(enrolled.open()) == (401, "unknown-device")
    assert follower.open().status_code == 200
    after = shown(server, follower)
    assert (after["seq"], after["labels"], after["deviceType"]) == (seq, labels["labels"], "camera")
    assert events(server)[-1] == "device.key-changed"
    with server.store.read() as connection:
        kept = connection.execute(select(t.device_components.c.known_bad)).scalars().all()
    assert kept == ["ab" * 32]


def test_a_revoked_device_loses_its_parked_poll_at_once(server: Running, enrolled: Device) -> None:
    etag = enrolled.poll().headers["etag"]
    with ThreadPoolExecutor(1) as pool:
        parked = pool.submit(enrolled.poll, etag, 60)
        while not server.doorbell.parked:
            Event().wait(0.01)
        assert revoke(server, enrolled).status_code == 200
        assert parked.result().status_code == 401
    assert code_of(enrolled.open()) == (403, "revoked")
    assert code_of(enrolled.enrol()) == (403, "revoked")
    assert shown(server, enrolled)["state"] == "revoked"
    assert revoke(server, enrolled).status_code == 409


def test_a_revoked_key_is_good_again_by_its_fingerprint_or_gives_way_to_a_new_one(
    server: Running, enrolled: Device
) -> None:
    assert say(server, "approve", enrolled).status_code == 409
    revoke(server, enrolled)
    assert say(server, "approve", enrolled).json()["key_changed"] is False
    assert enrolled.open().status_code == 200
    revoke(server, enrolled)
    follower = Device(server, enrolled.id)
    assert follower.enrol().status_code == 202
    assert say(server, "approve", follower).json()["key_changed"] is True
    assert follower.open().status_code == 200
    assert code_of(enrolled.open()) == (401, "unknown-device")


def test_a_duplicate_is_let_in_by_a_new_key_alone(server: Running, enrolled: Device) -> None:
    with server.store.write() as connection:
        connection.execute(update(t.edge_devices).values(state="duplicate", duplicate_at=wall()))
    answer = say(server, "approve", enrolled)
    assert (answer.status_code, "new key" in answer.text) == (409, True)
    revoke(server, enrolled)
    say(server, "approve", enrolled)
    assert shown(server, enrolled)["state"] == "duplicate"
    follower = Device(server, enrolled.id)
    follower.enrol()
    say(server, "approve", follower)
    assert (shown(server, follower)["state"], follower.open().status_code) == ("active", 200)


@pytest.mark.parametrize("entry", [{"revoked": True}, {"public_key": "ed25519:" + "ab" * 32}])
def test_what_git_says_no_person_says_otherwise(
    server: Running, enrolled: Device, entry: dict[str, Any]
) -> None:
    server.devices["pi-0001"] = DeviceEntry("pi-0001", "devices/pi-0001.yaml", **entry)
    answer = Device(server).enrol()
    assert code_of(answer) in ((403, "revoked"), (409, "id-taken"))


def test_of_two_keys_that_ask_for_one_id_each_waits_by_itself(server: Running) -> None:
    asking = [Device(server), Device(server)]
    assert [device.enrol().status_code for device in (*asking, *asking)] == [202] * 4
    shown_keys = {fingerprint(device.key.public) for device in asking}
    assert {found["fingerprint"] for found in waiting(server)} == shown_keys


def test_a_manifest_without_a_key_lets_nobody_in(server: Running) -> None:
    server.devices["pi-0001"] = DeviceEntry("pi-0001", "devices/pi-0001.yaml")
    assert Device(server).enrol().status_code == 202


def test_a_device_type_that_is_none_is_refused(server: Running) -> None:
    answer = Device(server).enrol(server.join_token(), device_type="Raspberry Pi")
    assert code_of(answer) == (400, "bad-field")


def test_a_token_may_only_bring_to_the_door(server: Running) -> None:
    token = server.join_token(to_pending=True, labels={"line": "7"})
    device = Device(server)
    assert [device.enrol(token).status_code for _ in range(2)] == [202, 202]
    assert code_of(Device(server, "pi-0002").enrol(token)) == (403, "join-token")
    assert waiting(server)[0]["labels"] == {"line": "7"}
    say(server, "approve", device)
    assert shown(server, device)["labels"] == {"line": "7"}


def test_who_waits_gets_the_labels_of_a_token_that_comes_later_for_one_use(
    server: Running,
) -> None:
    token, device = server.join_token(to_pending=True, labels={"line": "7"}), Device(server)
    for brought in (None, token, token, None):
        assert device.enrol(brought).status_code == 202
    assert code_of(Device(server, "pi-0002").enrol(token)) == (403, "join-token")
    (found,) = waiting(server)
    assert found["labels"] == {"line": "7"}


def test_who_waits_gets_in_with_a_token_that_comes_later(server: Running) -> None:
    device = Device(server)
    device.enrol()
    assert device.enrol(server.join_token()).status_code == 201
    assert waiting(server) == []


def test_a_join_string_is_made_for_a_while_and_a_number_of_devices(server: Running) -> None:
    body = {"max_uses": 7, "pending": True, "expires_in_s": 60, "labels": {"site": "oslo"}}
    made = server.client.post(f"{API}/join-tokens", json=body, headers=server.admin())
    assert made.status_code == 201
    with server.store.read() as connection:
        row = connection.execute(select(t.join_tokens)).one()
    assert (row.uses_left, row.to_pending, row.expires_at - row.created_at) == (7, True, 60)
    for wrong in ({"expires_in_s": 0}, {"labels": {"site": ""}}, {"max_uses": 0}):
        again = server.client.post(f"{API}/join-tokens", json=wrong, headers=server.admin())
        assert again.status_code == 422


def test_a_device_that_is_out_says_why_and_how_it_gets_in(
    server: Running, enrolled: Device
) -> None:
    def told() -> str:
        url = f"{API}/devices/{enrolled.id}/explain"
        return str(server.client.get(url, headers=server.admin("viewer")).json()["text"])

    with server.store.write() as connection:
        connection.execute(update(t.edge_devices).values(state="duplicate", duplicate_at=wall()))
    assert "DuplicateIdentity" in told()
    revoke(server, enrolled)
    assert f"--fingerprint {fingerprint(enrolled.key.public)}" in told()
    with server.store.write() as connection:
        connection.execute(update(t.edge_devices).values(revoked_in_git=True))
    assert "`state: active`" in told()
