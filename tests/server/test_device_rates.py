"""How often devices may call, in their sessions and from where they are refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.server.conftest import Device, Running
from tests.server.test_device import code_of
from towline.reconciler.server.device_rates import (
    BURST_S,
    FAILURES_BURST_S,
    DeviceRates,
    RateLimits,
    is_counted,
)
from towline.reconciler.server.traces import Traces
from towline.reconciler.server.wire import Answer, problem
from towline.schemas.keys import PrivateKey

PER_S = 4
BURST = PER_S * BURST_S


def rates() -> DeviceRates:
    return DeviceRates(RateLimits(of_device=PER_S, failures=1))


@given(st.lists(st.tuples(st.integers(1, 2), st.sampled_from([0, 0, 0, 0.1, 3.0])), max_size=120))
def test_no_device_gets_more_than_its_burst_and_its_rate(steps: list[tuple[int, float]]) -> None:
    counted, now = rates(), 1000.0
    of = {1: Traces(1), 2: Traces(2)}
    served: dict[int, list[float]] = {1: [], 2: []}
    for device, pause in steps:
        now += pause
        if not counted.take(of[device], now):
            served[device].append(now)
    for times in served.values():
        for first, began in enumerate(times):
            for last, ended in enumerate(times[first:], 1):
                assert last <= BURST + (ended - began) * PER_S + 1e-6


def test_who_keeps_its_rate_is_always_served_and_who_waits_as_told_is_served() -> None:
    counted, one, two = rates(), Traces(1), Traces(2)
    assert not any(counted.take(one, 1000 + n / PER_S) for n in range(5 * BURST))
    assert [counted.take(two, 1000.0) for _ in range(BURST + 1)] == [0] * BURST + [1]
    assert counted.take(two, 1001.0) == 0


@pytest.mark.parametrize("jump_s", [-3600, -BURST_S / 2, 3600])
def test_a_clock_that_jumps_locks_nobody_out(jump_s: float) -> None:
    counted, of = rates(), Traces(1)
    for _ in range(BURST):
        counted.take(of, 5000.0)
    assert counted.take(of, 5000.0)
    assert not counted.take(of, 5000.0 + jump_s)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (problem(401, "unknown-device"), True),
        (problem(403, "revoked"), True),
        (problem(400, "envelope"), True),
        (problem(401, "clock"), False),
        (problem(503, "busy"), False),
        (Answer(200), False),
        (Answer(202), False),
    ],
)
def test_only_refusals_are_counted(answer: Answer, expected: bool) -> None:
    assert is_counted(answer) is expected


def test_refusals_of_an_address_and_of_a_known_device_there_are_counted_apart() -> None:
    counted = rates()
    known = ("acme", "pi-0001", "ab")
    others = [("acme", "pi-0002", "ab"), ("acme", "pi-0001", "cd"), ("other", "pi-0001", "ab")]
    for _ in range(FAILURES_BURST_S):
        assert not counted.wait_of_known_s("10.0.0.1", known, 7.0)
        counted.note_refused("10.0.0.1", known, 7.0)
    assert counted.wait_of_known_s("10.0.0.1", known, 7.0) == 1
    assert counted.wait_of_known_s("10.0.0.1", known, 8.0) == 0
    assert not any(counted.wait_of_known_s("10.0.0.1", other, 7.0) for other in others)
    assert counted.wait_of_known_s("10.0.0.2", known, 7.0) == 0
    for _ in range(FAILURES_BURST_S):
        assert not counted.wait_s("10.0.0.1", 7.0)
        counted.note_refused("10.0.0.1", None, 7.0)
    assert counted.wait_s("10.0.0.1", 7.0) == 1
    assert counted.wait_s("10.0.0.2", 7.0) == 0
    assert counted.wait_s("10.0.0.1", 8.0) == 0
    assert not counted.wait_of_known_s("10.0.0.1", others[0], 7.0)


def test_a_device_that_is_refused_for_ever_makes_nobody_wait_but_itself(
    little_patience: int, server: Running, enrolled: Device
) -> None:
    """Its key is known, and another one signs; so does a clone, or one that was revoked."""
    neighbour = Device(server, "pi-0002")
    assert neighbour.enrol(server.join_token()).status_code == 201
    broken = enrolled.session_request().sign(PrivateKey.generate()).to_bytes()
    answers = [
        code_of(server.client.post("/api/v1/ota/session", content=broken))
        for _ in range(little_patience + 1)
    ]
    assert answers[0] == (401, "threshold")
    assert answers[-1] == (429, "too-many-failures")
    assert neighbour.open().status_code == 200
    assert Device(server, "pi-0003").enrol(server.join_token()).status_code == 201
    assert code_of(Device(server, "pi-0004").open()) == (401, "unknown-device")
    assert code_of(enrolled.open()) == (429, "too-many-failures")


def test_a_flood_from_an_address_keeps_nobody_out_who_is_known(
    little_patience: int, server: Running, enrolled: Device
) -> None:
    call, body = "/api/v1/ota/session", b"{}"
    for _ in range(little_patience + 1):
        answer = server.client.post(call, content=body)
    assert code_of(answer) == (429, "too-many-failures")
    assert 1 <= int(answer.headers["retry-after"]) <= 60
    assert code_of(Device(server, "pi-0002").enrol()) == (429, "too-many-failures")
    assert code_of(Device(server, "pi-0002").open()) == (429, "too-many-failures")
    assert code_of(Device(server, enrolled.id).open()) == (429, "too-many-failures"), "another key"
    assert enrolled.poll().status_code == 200
    assert enrolled.report(enrolled.facts()).status_code == 204
    assert enrolled.open().status_code == 200
