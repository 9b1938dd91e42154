"""Calls of the agent to its server: bounded in time and size, and dated by its time."""

import time
from collections.abc import Callable

import pytest

from tests.agent.fleet_server import FleetServer, problem
from tests.agent.misbehaving import Exchange, Misbehaving
from tests.agent.packages import AgentProcess
from towline.agent import identity
from towline.agent.layout import Layout
from towline.agent.server import Denied, Server, SessionClaims
from towline.agent.wire import Unreachable
from towline.schemas import envelope, times
from towline.schemas.enrolment import SessionRequest

LIMIT = 64 * 1024
AHEAD_S = 3600


def whole(exchange: Exchange) -> None:
    exchange.head("200 OK", Content_Length=LIMIT)
    exchange.send(b"x" * LIMIT)


def too_long(exchange: Exchange) -> None:
    exchange.head("200 OK")
    exchange.send(b"x" * (LIMIT + 1))


def cut_short(exchange: Exchange) -> None:
    exchange.head("200 OK", Content_Length=9)
    exchange.send(b"x")


def slow_head(exchange: Exchange) -> None:
    exchange.drip(b"HTTP/1.1 200 OK\r\nX: " * 99, 0.02)


def slow_body(exchange: Exchange) -> None:
    exchange.head("200 OK", Content_Length=99)
    exchange.drip(b"x" * 99, 0.02)


@pytest.mark.parametrize(
    ("answer", "deadline_s", "words"),
    [
        (too_long, 20, "longer than 64 KiB"),
        (cut_short, 20, "cut short"),
        (slow_head, 0.3, "127.0.0.1"),
        (slow_body, 0.3, "127.0.0.1"),
    ],
)
def test_an_answer_without_end_costs_a_device_neither_time_nor_memory(
    rogue: Misbehaving, answer: Callable[[Exchange], None], deadline_s: float, words: str
) -> None:
    rogue.behaviours = [whole, answer]
    patient, server = (
        Server(f"https://127.0.0.1:{rogue.port}", "acme", rogue.pin, deadline_s=limit_s)
        for limit_s in (20, deadline_s)
    )
    assert patient.root(1) == b"x" * LIMIT
    patient.close()
    with pytest.raises(Unreachable, match=words):
        server.root(1)
    server.close()


def test_a_server_that_finds_the_clock_wrong_is_asked_once_more_with_its_own_time(
    server: FleetServer, agent: AgentProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    who = identity.load(Layout(agent.root))
    asking = Server(server.address, who.organization, server.pin)
    claims = SessionClaims(who.organization, who.device, who.key, "boot")
    asked: list[int] = []
    opens = server.session

    def strict(body: bytes) -> object:
        now = int(time.time()) + AHEAD_S
        asked.append(SessionRequest.read(envelope.parse(body)).issued_at - now)
        if abs(asked[-1]) > tolerated_s:
            return problem(401, "clock", time=times.to_rfc3339(now))
        return opens(body)

    monkeypatch.setattr(server, "session", strict)
    tolerated_s = 300
    asking.open_session(claims, 0)
    assert (len(asked), abs(asked[0]) > tolerated_s, abs(asked[1]) < 60) == (2, True, True)
    tolerated_s = -1
    asked.clear()
    asking.close_session()
    with pytest.raises(Denied, match="clock"):
        asking.open_session(claims, 0)
    assert len(asked) == 2
    asking.close()
