"""Devices that leave: deleted, purged until nothing names them, replaced by another one."""

import re
from typing import Any

import httpx
import pytest
from sqlalchemy import insert, select, update

from tests.server.conftest import AddRun, Device, Running, add_target, wall
from tests.server.test_device import code_of, device_seq
from tests.server.test_enrolments import API, say
from towline.manifests.model import DeviceEntry
from towline.reconciler.head import CommitSeen, Head
from towline.reconciler.run_changes import record_for
from towline.reconciler.store import leaving
from towline.reconciler.store import tables as t
from towline.reconciler.store.admissions import StateForbids
from towline.reconciler.store.events import Event
from towline.schemas.identifiers import device_uuid

UUID = str(device_uuid("acme", "pi-0001"))


def post(server: Running, device: str, verb: str, **body: Any) -> httpx.Response:
    asked = {"reason": "burnt out"} | body
    url = f"{API}/devices/{device}/{verb}"
    return server.client.post(url, json=asked, headers=server.admin())


def label(server: Running, device: str, **labels: str) -> None:
    headers = server.admin() | {"If-Match": "*"}
    body = {"labels": labels, "reason": "sorted"}
    answer = server.client.put(f"{API}/devices/{device}/labels", json=body, headers=headers)
    assert answer.status_code == 200


def listed(server: Running) -> list[str]:
    answer = server.client.get(f"{API}/devices", headers=server.admin())
    return [each["id"] for each in answer.json()["devices"]]


def audit(server: Running) -> list[dict[str, Any]]:
    answer = server.client.get(f"{API}/audit?device={UUID}", headers=server.admin())
    found: list[dict[str, Any]] = answer.json()["acts"]
    return found


def put_in_force(server: Running, entry: DeviceEntry) -> None:
    """A commit with that Device manifest."""
    head = Head("acme", CommitSeen("f" * 40), server.root, devices={entry.name: entry})
    server.heads.append(head)


def grant(server: Running, *devices: str) -> None:
    """As a pass records it, of all that it grants at once."""
    with server.store.write() as connection:
        run = connection.execute(select(t.runs)).one()
        event = Event("target.granted", data={"devices": list(devices)})
        record_for(connection, run, event, now=wall())


def granted(server: Running) -> list[list[str]]:
    """The devices of each grant, by name."""
    asked = select(t.events.c.data).where(t.events.c.kind == "target.granted")
    with server.store.read() as connection:
        return [data["devices"] for data in connection.execute(asked).scalars()]


def naming(server: Running, name: str) -> list[str]:
    """The tables that name a device of that name."""
    with server.store.read() as connection:
        return [
            table.name
            for table in t.metadata.sorted_tables
            if re.search(rf"{name}\b", repr(connection.execute(select(table)).all()))
        ]


@pytest.fixture
def in_a_run(server: Running, enrolled: Device, add_run: AddRun) -> Device:
    """The device failed in a run, was labelled, reported, and people named it."""
    seq, run = device_seq(server), add_run(target_count=1)
    add_target(server, run, seq, status="failed", error_message="pi-0001: no space")
    label(server, "pi-0001", site="oslo")
    versions = {"hello": {"version": "1.0.0", "sha256": "ab" * 32}}
    assert enrolled.report(enrolled.facts(facts={"name": "pi-0001"}, versions=versions)).is_success
    named = {"organization": "acme", "deployment": "hello", "run_seq": run, "key": "device"}
    told = {"value": "pi-0001", "author": "Ada", "reason": "", "created_at": wall()}
    with server.store.write() as connection:
        connection.execute(insert(t.overrides).values(**named, **told))
    return enrolled


def test_a_deleted_device_is_out_and_comes_back_by_an_approval_only(
    server: Running, in_a_run: Device
) -> None:
    seq = device_seq(server)
    assert post(server, "pi-0001", "delete").json() == {"status": "deleted", "uuid": UUID}
    assert listed(server) == []
    assert code_of(in_a_run.poll()) == (401, "session")
    assert code_of(in_a_run.open()) == (401, "unknown-device")
    assert post(server, "pi-0001", "delete").status_code == 404
    page = server.client.get(f"{API}/deployments/hello", headers=server.admin()).json()
    assert (page["devices"][0]["device_id"], page["progress"]["failed"]) == ("pi-0001", 1)
    assert in_a_run.enrol(server.join_token()).json()["keyChange"] is True
    assert say(server, "approve", in_a_run).status_code == 200
    assert (in_a_run.open().status_code, device_seq(server)) == (200, seq)
    found = server.client.get(f"{API}/devices/pi-0001", headers=server.admin()).json()
    assert (found["labels"], found["facts"]) == ({}, {})


@pytest.mark.both_engines
def test_of_a_purged_device_nothing_is_left_but_its_uuid(server: Running, in_a_run: Device) -> None:
    Device(server, "pi-0001").enrol()
    grant(server, "pi-0001", "pi-00010")
    assert post(server, "pi-0001", "delete", purge=True).json()["status"] == "purged"
    in_a_run.poll()
    assert not naming(server, "pi-0001")
    assert ["pi-00010"] in [names[1:] for names in granted(server)]
    with server.store.read() as connection:
        target = connection.execute(select(t.targets)).one()
    assert (target.status, target.error_message) == ("failed", None)
    assert [(act["action"], act["device_id"]) for act in audit(server)] == [
        ("device.purge", UUID), ("device.label", UUID),
    ]  # fmt: skip
    assert listed(server) == []
    for slug in ("pi-0001", UUID):
        assert code_of(Device(server, slug).enrol(server.join_token())) == (409, "id-taken")


def test_who_took_a_place_and_who_left_it_are_both_forgotten(
    server: Running, in_a_run: Device
) -> None:
    names = ("pi-0001", "pi-0002")
    Device(server, "pi-0002").enrol(server.join_token())
    assert post(server, "pi-0001", "replace", by="pi-0002").status_code == 200
    assert all("events" in naming(server, name) for name in names)
    for name in names:
        assert post(server, name, "delete", purge=True).status_code == 200
        assert not naming(server, name)


@pytest.mark.parametrize("is_purged", [False, True])
def test_the_id_of_a_device_that_left_is_given_to_no_old_device(
    server: Running, enrolled: Device, is_purged: bool
) -> None:
    assert post(server, "pi-0001", "delete", purge=is_purged).status_code == 200
    url, body = f"{API}/devices/pi-0001/token", {"device_type": "raspberry_pi"}
    answer = server.client.post(url, json=body, headers=server.admin())
    assert (answer.status_code, "take another" in answer.text) == (409, True)


def test_the_audit_knows_a_device_by_its_name_and_by_its_uuid(
    server: Running, enrolled: Device
) -> None:
    label(server, "pi-0001", site="oslo")
    label(server, UUID, site="rome")
    by_name = server.client.get(f"{API}/audit?device=pi-0001", headers=server.admin()).json()
    assert by_name["acts"] == audit(server)
    assert [(act["device"], act["device_id"]) for act in audit(server)] == [(UUID, "pi-0001")] * 2


def test_a_device_whose_key_git_lists_is_removed_there_first(
    server: Running, enrolled: Device
) -> None:
    entry = DeviceEntry("pi-0001", "devices/pi-0001.yaml", public_key=enrolled.key.public.text())
    put_in_force(server, entry)
    answer = post(server, "pi-0001", "delete")
    assert (answer.status_code, "devices/pi-0001.yaml" in answer.text) == (409, True)
    assert enrolled.poll().status_code == 200


def test_another_device_takes_the_place_of_one(server: Running, in_a_run: Device) -> None:
    follower = Device(server, "pi-0002")
    assert post(server, "pi-0001", "replace", by="pi-0002").status_code == 404
    follower.enrol(server.join_token(labels={"site": "lab", "line": "7"}))
    entry = DeviceEntry("pi-0001", "devices/pi-0001.yaml")
    put_in_force(server, entry)
    answer = post(server, "pi-0001", "replace", by="pi-0002").json()
    assert answer["labels"] == {"site": "oslo", "line": "7"}
    assert answer["named_in"] == ["devices/pi-0001.yaml"]
    assert code_of(in_a_run.open()) == (403, "revoked")
    assert follower.open().status_code == 200
    with server.store.read() as connection:
        named = set(connection.execute(select(t.overrides.c.value)).scalars())
    assert named == {"pi-0001", "pi-0002"}
    assert audit(server)[0]["detail"]["by"] == str(device_uuid("acme", "pi-0002"))


@pytest.mark.parametrize(
    ("by", "changes"), [("pi-0001", {}), ("pi-0002", {"device_type": "camera"})]
)
def test_a_device_is_replaced_by_another_one_of_its_type(
    server: Running, enrolled: Device, by: str, changes: dict[str, str]
) -> None:
    Device(server, "pi-0002").enrol(server.join_token(), **changes)
    answer = post(server, "pi-0001", "replace", by=by)
    assert (answer.status_code, "of its type" in answer.text) == (409, True)
    assert enrolled.poll().status_code == 200


def test_who_is_gone_takes_no_place_and_leaves_none(server: Running, enrolled: Device) -> None:
    Device(server, "pi-0002").enrol(server.join_token())
    second = t.edge_devices.c.slug == "pi-0002"
    for old, new in (("pi-0001", "pi-9999"), ("pi-9999", "pi-0001"), ("pi-0002", "pi-0001")):
        with server.store.write() as connection:
            connection.execute(update(t.edge_devices).where(second).values(state="deleted"))
            with pytest.raises(StateForbids, match="there is no device"):
                leaving.replace(connection, "acme", old, new, wall())


def test_who_takes_a_place_must_be_let_in(server: Running, enrolled: Device) -> None:
    Device(server, "pi-0002").enrol(server.join_token())
    with server.store.write() as connection:
        second = t.edge_devices.c.slug == "pi-0002"
        connection.execute(update(t.edge_devices).where(second).values(state="duplicate"))
    answer = post(server, "pi-0001", "replace", by="pi-0002")
    assert (answer.status_code, "admit it first" in answer.text) == (409, True)
