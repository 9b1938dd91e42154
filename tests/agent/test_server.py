"""What the agent takes for an answer of its server, and what for none."""

import json
from collections.abc import Iterator

import pytest

from tests.agent.fleet_server import Answer, FleetServer
from tests.agent.misbehaving import Behaviour, Exchange, Misbehaving
from tests.agent.test_trust_on_disk import device as enrolled_device
from towline.agent.device import Device
from towline.agent.server import Denied, Server
from towline.agent.wire import Unreachable

device = enrolled_device
LIMIT = 64 * 1024


@pytest.fixture
def server_of(rogue: Misbehaving) -> Iterator[Server]:
    found = Server(f"https://127.0.0.1:{rogue.port}", "acme", rogue.pin, deadline_s=5)
    yield found
    found.close()


def answering(status: str, body: bytes, length: int | None = None) -> Behaviour:
    def answer(exchange: Exchange) -> None:
        exchange.head(status, Content_Length=len(body) if length is None else length)
        exchange.send(body)

    return answer


def test_an_answer_is_whole_and_at_most_64_kib(rogue: Misbehaving, server_of: Server) -> None:
    rogue.behaviours = [answering("200 OK", b"x" * LIMIT)]
    assert server_of.root(1) == b"x" * LIMIT
    server_of.close()
    for behaviour, words in (
        (answering("200 OK", b"x" * (LIMIT + 1)), "longer than 64 KiB"),
        (answering("200 OK", b"x" * 10, length=11), "cut short"),
    ):
        rogue.behaviours = [behaviour]
        with pytest.raises(Unreachable, match=words):
            server_of.root(1)


def test_an_answer_that_drips_is_none_though_it_looks_whole(rogue: Misbehaving) -> None:
    def drip(exchange: Exchange) -> None:
        exchange.head("200 OK")
        exchange.drip(b"x" * 100, 0.1)

    rogue.behaviours = [drip]
    server = Server(f"https://127.0.0.1:{rogue.port}", "acme", rogue.pin, deadline_s=0.5)
    with pytest.raises(Unreachable, match="takes too long"):
        server.root(1)


@pytest.mark.parametrize("status", ["204 No Content", "302 Found", "429 Slow", "500 Oh", "503 No"])
def test_what_says_nothing_of_the_device_is_a_matter_of_time(
    rogue: Misbehaving, server_of: Server, status: str
) -> None:
    rogue.behaviours = [answering(status, b"")]
    with pytest.raises(Unreachable, match=f"answers {status[:3]}"):
        server_of.root(1)


@pytest.mark.parametrize("status", ["400 Bad", "403 No", "499 No"])
def test_a_refusal_is_told_by_its_code(rogue: Misbehaving, server_of: Server, status: str) -> None:
    rogue.behaviours = [answering(status, b'{"code":"revoked"}')]
    with pytest.raises(Denied) as denied:
        server_of.root(1)
    assert denied.value.code == "revoked"


def test_who_is_stopping_asks_nobody(rogue: Misbehaving, server_of: Server) -> None:
    server_of.abort()
    with pytest.raises(Unreachable, match="is stopping"):
        server_of.root(1)
    assert rogue.requests == []


def test_a_session_lasts_for_a_whole_number_of_seconds(
    server: FleetServer, device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    for life_s in ("3600", None, 1.5, [3600]):
        body = json.dumps({"token": "abc", "expiresIn": life_s}).encode()
        monkeypatch.setattr(server, "session", lambda _, body=body: Answer(200, body))
        with pytest.raises(Unreachable, match="is not understood"):
            device.server.open_session(device.claims(), 0)
