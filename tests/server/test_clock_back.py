"""A server whose clock goes back an hour while devices have sessions."""

import time
from collections.abc import Callable

import pytest
from sqlalchemy import select

from tests.server.conftest import Device, Running
from towline.reconciler.server.admission import Admission
from towline.reconciler.store import tables as t
from towline.schemas import envelope, strict_json, times

HOUR_S = 3600
each_second = pytest.mark.parametrize("server", [1], indirect=True)


@pytest.fixture(autouse=True)
def go_back(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Sets how far behind the machine's clock is from then on."""
    real, behind = time.time, [0.0]
    monkeypatch.setattr(time, "time", lambda: real() - behind[0])
    monkeypatch.setattr(time, "time_ns", lambda: int(1e9 * (real() - behind[0])))
    monkeypatch.setattr(Admission.__init__, "__defaults__", (time.time,))

    def go(seconds: float) -> None:
        behind[0] = seconds

    return go


def sequence_of(answer: bytes) -> int:
    return int(strict_json.parse(envelope.parse(answer).payload)["sequence"])


@each_second
def test_a_session_goes_on_and_no_device_was_seen_in_the_future(
    server: Running, enrolled: Device, go_back: Callable[[float], None]
) -> None:
    assert enrolled.report(enrolled.facts()).status_code == 204
    before = sequence_of(enrolled.poll().content)
    go_back(HOUR_S)
    assert enrolled.poll(sequence=before).json()["code"] == "clock-behind"
    assert enrolled.report(enrolled.facts()).status_code == 204
    deadline = time.monotonic() + 30
    while (seen := last_seen(server)) > time.time():
        assert time.monotonic() < deadline, seen
        enrolled.poll()
        time.sleep(0.05)
    headers = server.admin("viewer")
    shown = server.client.get("/api/v1/admin/ota/devices/pi-0001", headers=headers).json()
    assert shown["online"]
    go_back(0)
    assert sequence_of(enrolled.poll(sequence=before).content) > before


def last_seen(server: Running) -> int:
    with server.store.read() as connection:
        return int(connection.execute(select(t.device_state.c.last_seen)).scalar_one())


def test_a_new_session_takes_the_servers_time_and_an_old_request_opens_none(
    enrolled: Device, go_back: Callable[[float], None]
) -> None:
    now = int(time.time())
    former = enrolled.session_request()
    assert enrolled.open(former).status_code == 200
    go_back(HOUR_S)
    refused = enrolled.open(enrolled.session_request(issued_at=now))
    assert (refused.status_code, refused.json()["code"]) == (401, "clock")
    told = times.from_rfc3339(refused.json()["time"])
    assert abs(told - (now - HOUR_S)) < 60
    assert enrolled.open(enrolled.session_request(issued_at=told)).status_code == 200
    go_back(0)
    assert enrolled.open(former).json()["code"] == "nonce-reused"
    assert enrolled.open().status_code == 200
