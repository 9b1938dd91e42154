"""What a device can prove that a server acknowledged, and what follows when the store forgot it."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select, update

from tests.server.conftest import AddRun, Device, Running
from towline.reconciler.server.receipts import Receipts
from towline.reconciler.server.sessions import Session
from towline.reconciler.store import device_keys
from towline.reconciler.store import tables as t
from towline.schemas.keys import PrivateKey
from towline.schemas.reports import Acknowledged, Heard

RECEIPT = "towline-receipt"
KEYS = PrivateKey.generate(), PrivateKey.generate()


def reported(device: Device, receipt: str = "", **changes: Any) -> str:
    """Report something; the receipt for it."""
    answer = device.server.client.post(
        "/api/v1/ota/reports",
        json=device.facts(**changes),
        headers={"Authorization": f"Bearer {device.token}", "Towline-Receipt": receipt},
    )
    assert answer.status_code == 204
    return str(answer.headers[RECEIPT])


def forget(server: Running, **left: Any) -> None:
    """As a store does that is put back to an older copy: to one from before any report."""
    values = {"journal": None, "report_seq": 0, "journals": 0} | left
    with server.store.write() as connection:
        connection.execute(update(t.device_state).values(values))


def held(server: Running) -> list[str]:
    with server.store.read() as connection:
        return list(connection.execute(select(t.holds.c.reason)).scalars())


def seen(server: Running) -> int:
    kind = t.events.c.kind == "store.restored"
    with server.store.read() as connection:
        return len(connection.execute(select(t.events).where(kind)).all())


def test_as_long_as_nothing_is_forgotten_nothing_is_held(
    server: Running, enrolled: Device, add_run: AddRun
) -> None:
    add_run()
    receipt = reported(enrolled)
    for _ in range(3):
        receipt = reported(enrolled, receipt)
    assert (held(server), seen(server)) == ([], 0)


def test_a_store_that_forgot_what_it_acknowledged_holds_every_run_that_is_not_over(
    server: Running, enrolled: Device, add_run: AddRun
) -> None:
    add_run()
    add_run("other")
    add_run("over", status="completed")
    receipt = reported(enrolled)
    forget(server)
    reported(enrolled, receipt)
    assert held(server) == ["RestoredFromBackup"] * 2
    with server.store.read() as connection:
        state = connection.execute(select(t.device_state)).one()
    assert (state.journal, state.report_seq) == ("j1", 2)


@pytest.mark.both_engines
def test_who_approves_is_not_asked_again_for_what_was_lost_before(
    server: Running, enrolled: Device, add_run: AddRun
) -> None:
    other = Device(server, "pi-0002")
    assert other.enrol(server.join_token()).status_code == 201
    assert other.open().status_code == 200
    add_run()
    receipts = [reported(device) for device in (enrolled, other)]
    forget(server)
    reported(enrolled, receipts[0])
    approved = server.client.post(
        "/api/v1/admin/ota/deployments/hello/approve",
        json={"reason": "looked at it"},
        headers=server.admin("operator"),
    )
    assert approved.status_code == 200, approved.text
    assert held(server) == []
    reported(other, receipts[1])
    assert (held(server), seen(server)) == ([], 1)


def test_who_lies_proves_nothing(server: Running, enrolled: Device, add_run: AddRun) -> None:
    other = Device(server, "pi-0002")
    assert other.enrol(server.join_token()).status_code == 201
    assert other.open().status_code == 200
    add_run()
    receipt = reported(enrolled)
    journals, number, at, mark = receipt.split(".")
    of_other = reported(other)
    for forged in (
        f"{int(journals) + 1}.{number}.{at}.{mark}",
        f"{journals}.{int(number) + 7}.{at}.{mark}",
        f"{journals}.{number}.{int(at) + 1}.{mark}",
        f"{journals}.{number}.{at}.{'0' * 64}",
        of_other,
        f"1.{receipt}",
        f"{receipt}0",
        "x",
        f"{journals}.{'9' * 30}.{at}.{mark}",
        "",
    ):
        forget(server)
        reported(enrolled, forged)
        assert (held(server), seen(server)) == ([], 0), forged
    forget(server)
    reported(enrolled, receipt)
    assert seen(server) == 1, "the one that is none of these is believed"


def same_journal(device: Device) -> list[str]:
    return [reported(device), reported(device), reported(device)]


def journal_begun_anew(device: Device) -> list[str]:
    receipts = same_journal(device)
    receipts.append(reported(device, journal="j2", reportSeq=9))
    return [*receipts, reported(device, reportSeq=1)]


def journals_by_turns_in_one_request(device: Device) -> list[str]:
    receipts = [reported(device, reportSeq=9)]
    answer = device.server.client.post(
        "/api/v1/ota/reports",
        json=[
            device.facts(journal="j2", reportSeq=8),
            device.facts(reportSeq=7),
            device.facts(journal="j2", reportSeq=1),
        ],
        headers={"Authorization": f"Bearer {device.token}"},
    )
    return [*receipts, str(answer.headers[RECEIPT])]


def old_number_told_again(device: Device) -> list[str]:
    return [reported(device, reportSeq=9), reported(device, reportSeq=8)]


def enrolled_anew(device: Device) -> list[str]:
    """Deleted by a person, and let in again under the same key."""
    server, id_ = device.server, f"/api/v1/admin/ota/devices/{device.id}"
    receipts = same_journal(device)
    receipts.append(reported(device, journal="j2", reportSeq=9))
    gone = server.client.post(f"{id_}/delete", json={"reason": "sold"}, headers=server.admin())
    assert gone.status_code == 200, gone.text
    waits = device.enrol()
    assert waits.status_code == 202, waits.text
    approved = server.client.post(
        f"{id_}/approve",
        json={"fingerprint": waits.json()["fingerprint"], "reason": "bought"},
        headers=server.admin(),
    )
    assert approved.status_code == 200, approved.text
    assert device.open().status_code == 200
    return [*receipts, reported(device, reportSeq=1)]


@pytest.mark.parametrize(
    "gathered",
    [
        same_journal,
        journal_begun_anew,
        journals_by_turns_in_one_request,
        old_number_told_again,
        enrolled_anew,
    ],
)
def test_no_receipt_that_a_device_ever_got_proves_that_its_server_forgot(
    server: Running,
    enrolled: Device,
    add_run: AddRun,
    gathered: Callable[[Device], list[str]],
) -> None:
    add_run()
    receipts = gathered(enrolled)
    for journal in ("j3", "j2", "j1"):
        for receipt in ("", *receipts):
            reported(enrolled, receipt, journal=journal, reportSeq=1)
    assert (held(server), seen(server)) == ([], 0)


@pytest.mark.parametrize(
    "left",
    [
        pytest.param({"journal": "j1", "report_seq": 1, "journals": 1}, id="its former journal"),
        pytest.param({"journal": "j2", "report_seq": 8, "journals": 2}, id="less of its journal"),
        pytest.param({}, id="nothing"),
    ],
)
def test_a_loss_is_seen_though_the_device_was_wiped_and_got_another_key(
    server: Running, enrolled: Device, add_run: AddRun, left: dict[str, Any]
) -> None:
    add_run()
    reported(enrolled)
    receipt = reported(enrolled, journal="j2", reportSeq=9)
    forget(server, **left)
    with server.store.write() as connection:
        key = PrivateKey.generate()
        device_keys.renew_key(connection, 1, key.public)
    enrolled.key = key
    assert enrolled.open().status_code == 200
    reported(enrolled, receipt, journal="j2", reportSeq=10)
    assert (held(server), seen(server)) == (["RestoredFromBackup"], 1)


def test_a_receipt_of_another_organization_or_key_is_none() -> None:
    ours, theirs = Receipts(lambda _: KEYS[0]), Receipts(lambda _: KEYS[1])
    session, other = (Session(1, "pi-0001", "", 0, name) for name in ("acme", "other"))
    acknowledged = Acknowledged(Heard(2, 5), 7)
    receipt = ours.write(session, acknowledged.heard, acknowledged.at)
    read = (ours.read(session, receipt), ours.read(other, receipt), theirs.read(session, receipt))
    assert read == (acknowledged, None, None)


def test_a_session_tells_up_to_where_the_device_was_heard(
    server: Running, enrolled: Device
) -> None:
    told = enrolled.open().json()
    assert (told["journal"], told["reportSeq"]) == ("", 0)
    reported(enrolled)
    told = enrolled.open().json()
    assert (told["journal"], told["reportSeq"]) == ("j1", 1)


def test_no_report_gets_no_receipt(enrolled: Device) -> None:
    answer = enrolled.report()
    assert answer.status_code == 204
    assert RECEIPT not in answer.headers
