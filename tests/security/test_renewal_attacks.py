"""What somebody may try to get a device's next key to be theirs."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from sqlalchemy import update

from tests.security.test_enrolment_attacks import code_of, key_of
from tests.server.conftest import ORGANIZATION, Device, Running
from towline.manifests.model import DeviceEntry
from towline.reconciler.store import tables as t
from towline.schemas import envelope, strict_json
from towline.schemas.enrolment import EnrolmentRequest
from towline.schemas.keys import PrivateKey
from towline.schemas.renewal import RENEWAL_TYPE, RenewalRequest


def renewal(of: Device, new: PrivateKey, **changes: Any) -> RenewalRequest:
    request = EnrolmentRequest(ORGANIZATION, of.id, new.public, "raspberry_pi", "1")
    return RenewalRequest(of.key.public.keyid, dataclasses.replace(request, **changes))


def renew(device: Device, request: RenewalRequest, old: PrivateKey, new: PrivateKey) -> Any:
    body = request.sign(old, new).to_bytes()
    return device.server.client.post("/api/v1/ota/enroll", content=body)


@pytest.fixture
def neighbour(server: Running) -> Iterator[Device]:
    """Another device of the fleet."""
    device = Device(server, "pi-0002")
    assert device.enrol(server.join_token()).status_code == 201
    yield device


def test_nobody_renews_the_key_of_another_device(
    server: Running, enrolled: Device, neighbour: Device
) -> None:
    new, before = PrivateKey.generate(), key_of(server)
    by_neighbour = renewal(neighbour, new, device=enrolled.id)
    named_as_its_own = dataclasses.replace(by_neighbour, keyid=enrolled.key.public.keyid)
    for request, code in ((by_neighbour, "unknown-device"), (named_as_its_own, "threshold")):
        assert code_of(renew(enrolled, request, neighbour.key, new)) == (401, code)
    assert key_of(server) == before


def test_a_new_key_that_is_not_proven_is_not_taken(server: Running, enrolled: Device) -> None:
    before, stranger = key_of(server), PrivateKey.generate().public
    request = renewal(enrolled, PrivateKey.generate(), public_key=stranger)
    answer = renew(enrolled, request, enrolled.key, PrivateKey.generate())
    assert code_of(answer) == (401, "threshold")
    inner = EnrolmentRequest(ORGANIZATION, "pi-0002", enrolled.key.public, "raspberry_pi", "1")
    payload = {
        "v": 1,
        "purpose": "renew",
        "organization": ORGANIZATION,
        "device": enrolled.id,
        "deviceKey": enrolled.key.public.keyid,
        "enrolment": inner.sign(enrolled.key).document(),
    }
    sealed = envelope.sign(RENEWAL_TYPE, strict_json.canonical(payload), enrolled.key)
    answer = server.client.post("/api/v1/ota/enroll", content=sealed.to_bytes())
    assert code_of(answer) == (400, "bad-field")
    assert key_of(server) == before


def test_a_renewal_that_was_captured_brings_no_former_key_back(
    server: Running, enrolled: Device
) -> None:
    first, second, third = enrolled.key, PrivateKey.generate(), PrivateKey.generate()
    captured = renewal(enrolled, second)
    assert renew(enrolled, captured, first, second).status_code == 201
    assert code_of(enrolled.open()) == (401, "unknown-device")
    assert code_of(enrolled.poll()) == (401, "session")
    enrolled.key = second
    assert renew(enrolled, renewal(enrolled, third), second, third).status_code == 201
    answer = renew(enrolled, captured, first, second)
    assert code_of(answer) == (401, "unknown-device")
    assert key_of(server) == third.public.raw.hex()


def test_nobody_renews_a_key_that_there_is_not(server: Running, enrolled: Device) -> None:
    call = "/api/v1/admin/ota/devices/old-1/token"
    body = {"device_type": "raspberry_pi"}
    assert server.client.post(call, json=body, headers=server.admin()).status_code == 201
    new = PrivateKey.generate()
    for slug in ("pi-9999", "old-1"):
        request = renewal(enrolled, new, device=slug)
        assert code_of(renew(enrolled, request, enrolled.key, new)) == (401, "unknown-device")


def test_who_is_shut_out_renews_no_key_and_hears_it_each_time(
    server: Running, enrolled: Device
) -> None:
    old, new = enrolled.key, PrivateKey.generate()
    request = renewal(enrolled, new)
    for state, code in (("revoked", (403, "revoked")), ("active", None)):
        with server.store.write() as connection:
            connection.execute(update(t.edge_devices).values(state=state))
        answer = renew(enrolled, request, old, new)
        assert answer.status_code == 201 if code is None else code_of(answer) == code
    with server.store.write() as connection:
        connection.execute(update(t.edge_devices).values(state="revoked"))
    assert code_of(renew(enrolled, request, old, new)) == (403, "revoked")


def test_a_key_that_git_lists_is_renewed_by_nobody_else(server: Running, enrolled: Device) -> None:
    text = enrolled.key.public.text()
    server.devices[enrolled.id] = DeviceEntry(enrolled.id, "devices/pi.yaml", public_key=text)
    new = PrivateKey.generate()
    answer = renew(enrolled, renewal(enrolled, new), enrolled.key, new)
    assert code_of(answer) == (409, "key-in-git")
    assert enrolled.poll().status_code == 200


def test_two_machines_with_one_key_are_both_held_and_neither_renews_it(
    server: Running, enrolled: Device
) -> None:
    clone = Device(server, enrolled.id, enrolled.key)

    def speak(device: Device, boot: str) -> httpx.Response:
        return device.open(dataclasses.replace(device.session_request(), boot_id=boot))

    assert speak(enrolled, "a").status_code == 200
    assert speak(clone, "b").status_code == 200
    assert speak(enrolled, "a").status_code == 200
    assert speak(enrolled, "a").status_code == 200, "its own hourly session"
    assert code_of(speak(clone, "b")) == (403, "duplicate-identity")
    for device in (enrolled, clone):
        assert code_of(device.poll()) == (401, "session")
        assert code_of(device.open()) == (403, "duplicate-identity")
        assert code_of(device.enrol()) == (403, "duplicate-identity")
    new = PrivateKey.generate()
    answer = renew(clone, renewal(clone, new), clone.key, new)
    assert code_of(answer) == (403, "duplicate-identity")
