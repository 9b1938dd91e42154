"""What a device can prove that a server acknowledged, and what follows when the store forgot it."""

from typing import Any

import pytest
from sqlalchemy import select, update

from tests.server.conftest import AddRun, Device, Running
from towline.reconciler.store import tables as t

RECEIPT = "towline-receipt"


def reported(device: Device, receipt: str = "", **changes: Any) -> str:
    """Report something; the receipt for it."""
    answer = device.server.client.post(
        "/api/v1/ota/reports",
        json=device.facts(**changes),
        headers={"Authorization": f"Bearer {device.token}", "Towline-Receipt": receipt},
    )
    assert answer.status_code == 204
    return str(answer.headers[RECEIPT])


def forget(server: Running) -> None:
    """As a store does that is put back to a copy from before any report."""
    with server.store.write() as connection:
        connection.execute(update(t.device_state).values(journal=None, report_seq=0))


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
    number, at, mark = receipt.split(".")
    of_other = reported(other)
    forget(server)
    for forged in (
        f"{int(number) + 7}.{at}.{mark}",
        f"{number}.{int(at) + 1}.{mark}",
        f"{number}.{at}.{'0' * 64}",
        of_other,
        "x",
        "9" * 30 + f".{at}.{mark}",
        "",
    ):
        reported(enrolled, forged)
    assert (held(server), seen(server)) == ([], 0)
    reported(enrolled, reported(enrolled), journal="j2", reportSeq=1)
    assert (held(server), seen(server)) == ([], 0)


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
