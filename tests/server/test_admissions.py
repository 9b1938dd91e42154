"""What a person may say to who waits, and what no person may, whatever is asked of the store."""

from typing import Any

import pytest
from sqlalchemy import update

from tests.server.conftest import ORGANIZATION, Device, Running, wall
from tests.server.test_old_devices import call
from towline.reconciler.store import admissions
from towline.reconciler.store import tables as t
from towline.reconciler.store.admissions import NobodyWaits, StateForbids
from towline.reconciler.store.device_keys import fingerprint
from towline.reconciler.store.git_devices import GitDevice
from towline.schemas.keys import PrivateKey

OTHER = PrivateKey.from_raw(b"o" * 32).public


def approve(server: Running, device: Device, said: str = "", **git: Any) -> Any:
    said = said or fingerprint(device.key.public)
    with server.store.write() as connection:
        return admissions.approve(
            connection,
            ORGANIZATION,
            device.id,
            said,
            git=GitDevice(**git) if git else None,
            now=wall(),
        )


def put(server: Running, **values: Any) -> None:
    with server.store.write() as connection:
        connection.execute(update(t.edge_devices).values(**values))


@pytest.mark.parametrize(
    ("git", "words"),
    [({"is_revoked": True}, "says `state: revoked`"), ({"public_key": OTHER}, "lists another key")],
)
def test_what_git_says_stands(server: Running, git: dict[str, Any], words: str) -> None:
    device = Device(server)
    assert device.enrol().status_code == 202
    with pytest.raises(StateForbids, match=words):
        approve(server, device, **git)
    assert approve(server, device, public_key=device.key.public).is_new


def test_an_old_devices_place_is_not_given_away(server: Running) -> None:
    device = Device(server, "old-1")
    assert device.enrol().status_code == 202
    assert call(server, "POST", "/devices/old-1/token", device_type="camera").status_code == 201
    with pytest.raises(StateForbids, match="is an old device with a token"):
        approve(server, device)


def test_a_device_without_a_key_has_no_fingerprint_that_could_be_said(server: Running) -> None:
    assert call(server, "POST", "/devices/old-1/token", device_type="camera").status_code == 201
    with pytest.raises(NobodyWaits, match="nothing waits for an approval"):
        approve(server, Device(server, "old-1"))


def test_only_the_fingerprint_that_waits_is_let_in(server: Running) -> None:
    device = Device(server)
    with pytest.raises(NobodyWaits, match="nothing waits for an approval"):
        approve(server, device)
    assert device.enrol().status_code == 202
    with pytest.raises(NobodyWaits, match=f"there is {fingerprint(device.key.public)}"):
        approve(server, device, fingerprint(OTHER))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, "is active with this key already"),
        ({"state": "duplicate"}, "two machines speak"),
        ({"state": "revoked", "revoked_in_git": True}, "is revoked with this key already"),
    ],
)
def test_only_who_a_person_shut_out_is_let_in_again(
    server: Running, enrolled: Device, values: dict[str, Any], words: str
) -> None:
    if values:
        put(server, **values)
    with pytest.raises(StateForbids, match=words):
        approve(server, enrolled)
    put(server, state="revoked", revoked_in_git=False, revoked_at=1)
    assert not approve(server, enrolled).is_new


def test_only_who_is_in_is_shut_out(server: Running, enrolled: Device) -> None:
    def revoke(slug: str) -> int:
        with server.store.write() as connection:
            return admissions.revoke(connection, ORGANIZATION, slug, wall())

    with pytest.raises(StateForbids, match="pi-9999 is no device already"):
        revoke("pi-9999")
    assert revoke(enrolled.id) > 0
    for state in ("revoked", "deleted"):
        put(server, state=state)
        with pytest.raises(StateForbids, match=f"is {state} already"):
            revoke(enrolled.id)
