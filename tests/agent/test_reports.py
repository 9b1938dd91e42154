"""Reports reach the server whatever their size, and one that it cannot read blocks no other."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.agent.fleet_server import Answer, FleetServer
from tests.agent.packages import AgentProcess
from towline.agent import identity, journal
from towline.agent.attempt import Key, Outcome
from towline.agent.device import Device
from towline.agent.layout import Layout
from towline.agent.outcome import told
from towline.agent.report_batch import BATCH_LIMIT_BYTES, batch, encode
from towline.agent.retelling import tell_again
from towline.agent.server import Denied, Heard, Server
from towline.agent.stop import Stop
from towline.schemas import reports, strict_json
from towline.schemas.states import TargetState

KEY = Key("app", "d" * 8, "0" * 64, 1, "c" * 40)


@pytest.fixture
def device(agent: AgentProcess) -> Iterator[Device]:
    layout = Layout(agent.root)
    made = Device(layout, identity.load(layout), Stop())
    yield made
    made.server.close()


def owe(device: Device, count: int, message: str) -> None:
    """Reports that wait in the journal."""
    attempt = reports.Attempt(
        "app", "d" * 8, "0" * 64, 1, "c" * 40, TargetState.FAILED, "InstallFailed", message
    )
    for _ in range(count):
        report = device.report_for(attempt)
        device.journal.write(device.journal.state.with_report(report))


def test_a_batch_fits_into_one_request_and_is_never_empty() -> None:
    small, large = {"m": "ü" * 9_000}, {"m": "x" * 70_000}
    assert batch([], 9) == []
    assert batch([large, small], 9) == [large]
    taken = batch([small] * 9, 9)
    assert len(encode(taken)) <= BATCH_LIMIT_BYTES < len(encode([*taken, small]))
    assert batch([small] * 9, 2) == [small] * 2


def test_a_name_that_is_no_text_can_be_sent() -> None:
    assert encode([{"m": "a\udc80b"}]) == b'[{"m":"a?b"}]'


@given(st.text(st.characters(exclude_categories=[])))
def test_whatever_a_message_holds_the_server_can_read_it(message: str) -> None:
    shown = told(Outcome(KEY, "1", "f" * 64, TargetState.FAILED, "InstallFailed", message)).message
    assert strict_json.parse(json.dumps([shown]).encode()) == [shown]


def test_many_long_reports_all_arrive_in_requests_that_the_server_takes(
    server: FleetServer, device: Device
) -> None:
    sizes = []
    take = server.take

    def measured(device: str, body: bytes) -> Answer:
        sizes.append(len(body))
        return take(device, body)

    server.take = measured  # type: ignore[method-assign]
    owe(device, 60, "ü" * 2_000)
    device.send_reports()
    assert device.journal.state.outbox == ()
    assert len(server.reports) == 60
    assert max(sizes) <= 60_000


@pytest.mark.parametrize("status", [400, 413])
def test_only_the_report_that_the_server_does_not_take_is_dropped(
    server: FleetServer, device: Device, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    real = Server.report

    def picky(self: Server, sent: Sequence[Mapping[str, Any]], receipt: str) -> str:
        if any(each["message"] == "odd" for each in sent):
            raise Denied(status, "bad-field", "", {})
        return real(self, sent, receipt)

    monkeypatch.setattr(Server, "report", picky)
    for message in ("first", "odd", "last"):
        owe(device, 1, message)
    device.send_reports()
    assert [r.attempt.message for _, r in server.reports if r.attempt] == ["first", "last"]
    assert device.journal.state.outbox == ()


def test_only_what_a_server_acknowledged_and_does_not_know_is_told_again(device: Device) -> None:
    ended = Outcome(KEY, "1", "f" * 64, TargetState.COMPLETED)
    written = journal.JournalState("own", 3, outcomes={"app": ended}, receipt="of 3")
    heard = {
        Heard("own", 3): False,
        Heard("own", 2): True,
        Heard("", 0): True,
        Heard("of before the device was wiped", 9): True,
    }
    for receipt in ("of 3", ""):
        for device.server.heard, is_forgotten in heard.items():
            device.journal.write(replace(written, receipt=receipt))
            tell_again(device)
            told_again = [each["state"] for each in device.journal.state.outbox]
            assert told_again == ["completed"] * (is_forgotten and receipt != ""), receipt
