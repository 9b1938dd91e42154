"""The page of keys that wait: an admin compares the fingerprint, then admits or denies."""

import pytest

from tests.server.changing import rows
from tests.server.conftest import Device, Running
from tests.server.visiting import PAGE, Guest
from towline.reconciler.store.device_keys import fingerprint


@pytest.fixture
def waiting(server: Running, enrolled: Device) -> tuple[Device, Device]:
    """A new device, and another key for one that is enrolled."""
    new, other = Device(server, "pi-0002"), Device(server, enrolled.id)
    assert {each.enrol().status_code for each in (new, other)} == {202}
    return new, other


def at(device: Device) -> str:
    return f"/enrolments/{device.id}/{fingerprint(device.key.public)}"


def test_an_admin_compares_and_admits_a_device(
    server: Running, waiting: tuple[Device, Device]
) -> None:
    new, _ = waiting
    guest = Guest(server).sign_in("admin")
    assert "2 keys wait" in guest.get("/fleet").text
    listed = guest.get("/enrolments")
    assert fingerprint(new.key.public) in listed.text
    assert f"{PAGE}{at(new)}" in listed.links()
    form = guest.get(at(new)).form("/approve")
    refused = guest.send(form)
    assert (refused.status_code, "Compare the fingerprint" in refused.text) == (422, True)
    assert new.open().status_code == 401
    assert guest.send(form, compared="yes", reason="seen").status_code == 303
    assert "pi-0002 is admitted" in guest.get("/enrolments").text
    assert new.open().status_code == 200
    assert guest.get(at(new)).status == 404
    told = rows(server)[0]
    assert (told["action"], told["device_id"], told["detail"]["reason"]) == (
        "device.approve", "pi-0002", "seen",
    )  # fmt: skip


def test_a_change_of_a_key_says_whom_it_shuts_out(
    server: Running, enrolled: Device, waiting: tuple[Device, Device]
) -> None:
    _, other = waiting
    guest = Guest(server).sign_in("admin")
    asked = guest.get(at(other))
    assert fingerprint(enrolled.key.public) in asked.text
    assert "shut out" in asked.text
    assert guest.send(asked.form("/deny")).status_code == 303
    assert enrolled.poll().status_code == 200
    assert "another key" not in guest.get("/enrolments").text


def test_only_an_admin_decides(server: Running, waiting: tuple[Device, Device]) -> None:
    new, _ = waiting
    guest = Guest(server).sign_in("admin")
    form = guest.get(at(new)).form("/approve")
    guest = Guest(server).sign_in("operator")
    listed = guest.get("/enrolments")
    assert fingerprint(new.key.public) in listed.text
    assert f"{PAGE}{at(new)}" not in listed.links()
    assert guest.get(at(new)).status == 403
    form.fields["csrf"] = guest.get().form("/sign-out").fields["csrf"]
    assert guest.send(form, compared="yes").status_code == 403
    assert new.open().status_code == 401
