"""Reports get the same answer, and leave the same, by whichever way they come: past ASGI or not."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from itertools import pairwise
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError
from structlog.testing import capture_logs

from tests.reconciler.simulation import ORGANIZATION
from tests.server.two_ways import DEVICE, Client, Parts, Sent, both_ways, parts_on, run
from towline.reconciler.server import plain_json, wire
from towline.reconciler.server.device_connection import BESIDE_LIMIT
from towline.reconciler.server.device_rates import BURST_S, DeviceRates, RateLimits
from towline.reconciler.server.inlet import Full
from towline.reconciler.server.wire import DEVICE_BODY_LIMIT, Answer
from towline.reconciler.store.engine import Store, open_store
from towline.schemas.reports import REPORTS_LIMIT

NOW = 1_900_000_000
PATH = "/api/v1/ota/reports"
REPORT: dict[str, Any] = {
    "journal": "j",
    "reportSeq": 7,
    "lastSequence": 0,
    "facts": {"kernel": "6.1"},
    "versions": {"app": {"version": "1.0.0", "sha256": "ab" * 32}},
}
BODY = json.dumps(REPORT).encode()
END = b"\r\n\r\n"


def request(
    *lines: str, body: bytes = BODY, start: str = f"POST {PATH} HTTP/1.1", **changes: str | None
) -> bytes:
    """A report; `changes` are of its headers."""
    headers = {
        "Host": "towline",
        "Authorization": "Bearer right",
        "Content-Length": str(len(body)),
    } | {name.replace("_", "-"): value for name, value in changes.items()}
    said = (f"{name}: {value}" for name, value in headers.items() if value is not None)
    return "".join(f"{line}\r\n" for line in (start, *said, *lines, "")).encode() + body


def plain(*lines: str, **changes: Any) -> Sent:
    return Sent([request(*lines, **changes)])


def odd(*lines: str, **changes: Any) -> Sent:
    return Sent([request(*lines, **changes)], asgi=1)


def cut(whole: bytes, *at: int, answers: int = 1, asgi: int = 0) -> Sent:
    """The same in pieces that end there."""
    ends = [0, *(end % len(whole) for end in at), len(whole)]
    return Sent([whole[first:last] for first, last in pairwise(ends)], answers, asgi)


HEAD = request().index(END) + len(END)
PADDED = BODY + b"\r\n\r\n" + b" " * 10
PADDED_HEAD = request(body=PADDED).index(END) + len(END)
BAD = request(body=b"[")
LONGEST = BODY + b" " * (DEVICE_BODY_LIMIT - len(BODY))

TOLD: dict[str, Sent] = {
    "one": plain(),
    "several": plain(body=json.dumps([REPORT, REPORT | {"reportSeq": 8}]).encode()),
    "none": plain(body=b"[]"),
    "too many": plain(body=json.dumps([REPORT] * (REPORTS_LIMIT + 1)).encode()),
    "a bad field": plain(body=json.dumps(REPORT | {"reportSeq": 0}).encode()),
    "a NUL": plain(body=json.dumps(REPORT | {"facts": {"a": ["\0"]}}).encode()),
    "no JSON": plain(body=b"{"),
    "no UTF-8": plain(body=b'"\xff"'),
    "no end of nesting": plain(body=b"[" * 30_000),
    "deep facts": plain(
        body=BODY.replace(b'"6.1"', b"[" * 400 + b"]" * 400),
    ),
    "a key twice": plain(body=b'{"journal": "j", ' + BODY[1:]),
    "an empty body": plain(body=b""),
    "with a receipt": plain(f"Towline-Receipt: 1.7.{NOW}.{'0' * 64}"),
    "with what is no receipt": plain("Towline-Receipt: \xff"),
    "the longest body": plain(body=LONGEST),
    "a body too long": Sent([request(body=LONGEST + b" ")], asgi=1),
    "a length of many digits": plain(Content_Length=f"{len(BODY):010}"),
    "a length with zeros before it": plain(Content_Length=f"{len(BODY):06}"),
    "a length that is none": plain(Content_Length="+5"),
    "a length with a space": plain(Content_Length=f" {len(BODY)} "),
    "two lengths": plain(f"Content-Length: {len(BODY)}"),
    "no length": odd(Content_Length=None, body=b""),
    "with chunks": odd(
        "Transfer-Encoding: chunked",
        Content_Length=None,
        body=b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY),
    ),
    "with chunks and a length": plain("Transfer-Encoding: chunked"),
    "expecting": Sent([request("Expect: 100-continue")], 2, asgi=1),
    "upgrade to something": odd("Connection: upgrade", "Upgrade: h2c"),
    "kept alive": plain("Connection: keep-alive"),
    "closed after it": odd("Connection: close"),
    "HTTP/1.0": odd(start=f"POST {PATH} HTTP/1.0"),
    "no session": odd(Authorization=None),
    "unknown session": odd(Authorization="Bearer guess"),
    "expired session": odd(Authorization="Bearer expired"),
    "of nobody's organization": plain(Authorization="Bearer foreign"),
    "two tokens": odd("Authorization: Bearer wrong"),
    "no host": plain(Host=None),
    "another method": odd(start=f"PUT {PATH} HTTP/1.1"),
    "reading them": odd(start=f"GET {PATH} HTTP/1.1"),
    "with a query": odd(start=f"POST {PATH}?wait=1 HTTP/1.1"),
    "with a fragment": odd(start=f"POST {PATH}#1 HTTP/1.1"),
    "absolute": odd(start=f"POST http://towline{PATH} HTTP/1.1"),
    "escaped": odd(start=f"POST {PATH.replace('ports', 'p%6frts')} HTTP/1.1"),
    "a longer path": odd(start=f"POST {PATH}s HTTP/1.1"),
    "after an empty line": odd(start=f"\r\nPOST {PATH} HTTP/1.1"),
    "head, then body": cut(request(), HEAD),
    "a body in pieces": cut(request(), HEAD + 1, HEAD + 40, -1),
    "cut in the head": cut(request(), 10, asgi=1),
    "cut in the end of the head": cut(request(), HEAD - 2, asgi=1),
    "cut everywhere": cut(request(), *range(1, len(request())), asgi=1),
    "ends of heads in the body": plain(body=PADDED),
    "cut behind such an end": cut(request(body=PADDED), PADDED_HEAD, -10),
    "cut in the head, and such an end": cut(request(body=PADDED), PADDED_HEAD - 2, asgi=1),
    "one after the other": Sent([request(), request(body=b"["), request()], 3),
    "two at once": Sent([request() * 2], 2, asgi=2),
    "three at once": Sent([request() + request(body=b"[") + request()], 3, asgi=3),
    "another behind the body": cut(request() * 2, HEAD, answers=2),
    "others behind a body": cut(request() * 4, HEAD + 9, answers=4, asgi=3),
    "another behind a bad body": cut(BAD + request(), -len(request()) - 1, answers=2),
    "half of another behind the body": cut(request() * 2, HEAD, -9, answers=2),
    "behind an odd one's end": cut(
        request("Connection: keep-alive", body=PADDED, start=f"PUT {PATH} HTTP/1.1") + request(),
        PADDED_HEAD + 50,
        answers=2,
        asgi=2,
    ),
}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return open_store(tmp_path_factory.mktemp("store") / "towline.db")


@pytest.fixture
def parts(store: Store, monkeypatch: pytest.MonkeyPatch) -> Parts:
    """On which the time that receipts say stands still."""
    monkeypatch.setattr(time, "time", lambda: float(NOW))
    return parts_on(store)


def counted(parts: Parts) -> dict[str, Any]:
    return {
        "reports": dict(parts.tally.reports),
        "away": dict(parts.tally.turned_away),
        "handed": list(parts.inlet.handed),
    }


@pytest.mark.parametrize("name", TOLD)
def test_both_ways_tell_and_leave_the_same(name: str, parts: Parts) -> None:
    sent = TOLD[name]

    async def told(way: str) -> tuple[bytes, dict[str, Any]]:
        parts.tally.reports.clear()
        parts.tally.turned_away.clear()
        parts.inlet.handed.clear()
        parts.asgi = 0
        client = await parts.connect(way)
        for piece in sent.pieces:
            await client.send(piece)
        answers = await client.read(sent.answers)
        client.writer.close()
        return answers, counted(parts) | {"total": parts.states[way].total_requests}

    async def story() -> None:
        through = await told("through")
        assert await told("past") == through
        assert parts.asgi == sent.asgi

    run(story())


Act = Callable[[Client], Awaitable[None]]


def answers_to(
    parts: Parts, way: str, pieces: list[bytes], act: Act | None = None, answers: int = 1
) -> list[bytes]:
    """What is told to one who sends these pieces, once `act` has happened."""
    found = b""

    async def story() -> None:
        nonlocal found
        client = await parts.connect(way)
        for piece in pieces:
            await client.send(piece)
        if act is not None:
            await asyncio.sleep(0.01)
            await act(client)
        found = await client.read(answers) if answers else b""
        client.writer.close()
        await asyncio.sleep(0)

    run(story())
    assert (parts.asgi == 0) is (way == "past")
    return [b"HTTP/1.1 " + answer for answer in found.split(b"HTTP/1.1 ")[1:]]


@pytest.mark.parametrize(
    ("error", "status", "away"),
    [
        (Full(), b"503", {"busy": 1}),
        (OperationalError("UPDATE", {}, Exception("gone")), b"503", {}),
        (RuntimeError("a bug"), b"500", {}),
    ],
)
@both_ways
def test_what_is_not_kept_is_not_acknowledged(
    way: str, error: Exception, status: bytes, away: dict[str, int], parts: Parts
) -> None:
    parts.inlet.error = error
    (answer,) = answers_to(parts, way, [request()])
    assert answer[9:12] == status
    assert (b"retry-after: 10\r\n" in answer) is (status == b"503")
    assert counted(parts)["reports"] == {}
    assert counted(parts)["away"] == away


@both_ways
def test_a_receipt_that_cannot_be_written_is_an_answer_too(
    way: str, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts.reporting, "_receipts", None)
    (answer,) = answers_to(parts, way, [request()])
    assert answer[9:12] == b"500"


def test_a_bug_in_taking_one_keeps_no_other_of_its_round_from_its_answer(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, rounds, found = b'"bad"', [0], list[bytes]()
    parse, take_all = plain_json.parse, parts.reporting._take_all

    def parse_most(body: bytes) -> object:
        if body == bad:
            raise RuntimeError("a bug")
        return parse(body)

    def count_and_take() -> None:
        rounds[0] += 1
        take_all()

    async def story() -> None:
        clients = [await parts.connect("past") for _ in range(3)]
        for client, body in zip(clients, (BODY, bad, BODY), strict=True):
            client.writer.write(request(body=body))
        found.extend([await client.read(1) for client in clients])
        for client in clients:
            client.writer.close()

    monkeypatch.setattr(plain_json, "parse", parse_most)
    monkeypatch.setattr(parts.reporting, "_take_all", count_and_take)
    run(story())
    assert [answer[9:12] for answer in found] == [b"204", b"500", b"204"]
    assert rounds == [1]


def test_what_is_no_call_behind_reports_keeps_them_from_nothing(parts: Parts) -> None:
    pieces = [request()[:HEAD], request()[HEAD:] + b"hello\r\n\r\n"]
    kept, refused = answers_to(parts, "past", pieces, answers=2)
    assert (kept[9:12], refused[9:12]) == (b"204", b"400")


def test_who_cannot_be_told_keeps_no_other_of_the_round_from_its_answer(parts: Parts) -> None:
    told: list[Answer] = []

    def fails(_: Answer) -> None:
        raise RuntimeError("a bug in what came behind them")

    async def story() -> None:
        session = parts.polls.sessions.find(b"right", 0)
        assert session is not None
        for tell in (fails, told.append):
            parts.reporting.take_together(session, b"", b"[]", tell)
        await asyncio.sleep(0.01)

    with capture_logs() as logs:
        run(story())
    assert [answer.status for answer in told] == [204]
    assert [each["event"] for each in logs] == ["reports.untold"]


def test_who_sends_too_long_a_head_is_not_waited_for(parts: Parts) -> None:
    async def story() -> None:
        client = await parts.connect("past")
        sent = request(f"Towline-Receipt: {'x' * BESIDE_LIMIT}")
        await client.send(sent[: -len(BODY)])
        assert await asyncio.wait_for(client.reader.read(), 10) == b""

    run(story())


def test_bodies_that_arrive_count_to_what_arrives_in_the_process(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "ARRIVING_LIMIT", int(1.5 * len(BODY)))

    async def story() -> None:
        first, second = [await parts.connect("past") for _ in range(2)]
        await first.send(request()[:-1])
        assert wire.arriving.size == len(BODY)
        await second.send(request()[:-1])
        assert b" 503 " in await second.read(1)
        await first.send(request()[-1:])
        assert b" 204 " in await first.read(1)
        assert wire.arriving.size == 0
        await first.send(request()[:-1])
        assert wire.arriving.size == len(BODY)
        first.writer.close()
        await asyncio.sleep(0.01)
        assert wire.arriving.size == 0

    run(story())


@both_ways
def test_nothing_is_told_before_the_commit(way: str, parts: Parts) -> None:
    parts.inlet.is_holding = True

    async def let_go(client: Client) -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.reader.read(1), 0.02)
        parts.inlet.let_go()

    (answer,) = answers_to(parts, way, [request()], let_go)
    assert answer.startswith(b"HTTP/1.1 204 ")
    assert counted(parts)["reports"] == {(ORGANIZATION, "accepted"): 1}


@both_ways
def test_what_comes_behind_reports_that_wait_is_answered_after_them(way: str, parts: Parts) -> None:
    parts.inlet.is_holding = True

    async def ask_more(client: Client) -> None:
        await client.send(request(body=b"["))
        await client.send(request(Authorization="Bearer wrong"))
        connection: Any = next(iter(parts.states[way].connections))
        assert connection.flow.read_paused  # no more than this is kept
        parts.asgi = int(way == "through")
        parts.inlet.let_go()
        parts.inlet.is_holding = False

    parts.tally.reports.clear()
    found = b""

    async def story() -> None:
        nonlocal found
        client = await parts.connect(way)
        await client.send(request())
        await asyncio.sleep(0.01)
        await ask_more(client)
        found = await client.read(3)
        client.writer.close()

    run(story())
    assert [part[:3] for part in found.split(b"HTTP/1.1 ")[1:]] == [b"204", b"400", b"401"]


@both_ways
def test_reports_of_one_who_left_are_kept_all_the_same(way: str, parts: Parts) -> None:
    parts.inlet.is_holding = True

    async def leave(client: Client) -> None:
        client.writer.close()
        await asyncio.sleep(0.01)
        parts.inlet.let_go()
        await asyncio.sleep(0.01)

    assert answers_to(parts, way, [request()], leave, answers=0) == []
    assert counted(parts)["reports"] == {(ORGANIZATION, "accepted"): 1}


@both_ways
def test_a_report_of_which_the_end_never_came_is_none(way: str, parts: Parts) -> None:
    async def leave(client: Client) -> None:
        client.writer.close()
        await asyncio.sleep(0.01)

    assert answers_to(parts, way, [request()[:-1]], leave, answers=0) == []
    assert counted(parts)["handed"] == []


@pytest.mark.parametrize("have", [len(request()), HEAD, HEAD + 5])
@both_ways
def test_the_end_of_the_server_comes_after_reports_under_way(
    way: str, have: int, parts: Parts
) -> None:
    parts.inlet.is_holding = True

    async def end(client: Client) -> None:
        for connection in list(parts.states[way].connections):
            connection.shutdown()
        if rest := request()[have:]:
            await client.send(rest)
        await asyncio.sleep(0.01)
        parts.inlet.let_go()

    (answer,) = answers_to(parts, way, [request()[:have]], end)
    assert answer.startswith(b"HTTP/1.1 204 ")
    assert answer.endswith(b"connection: close\r\n\r\n<closed>")


@pytest.mark.parametrize("is_over", [False, True])
@both_ways
def test_a_session_that_ends_while_the_body_comes_is_none(
    way: str, is_over: bool, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def end(client: Client) -> None:
        if is_over:
            monkeypatch.setattr(time, "time", lambda: 9_100_000_000.0)
        else:
            parts.polls.sessions.replace({DEVICE: ""})
        await client.send(request()[HEAD + 5 :])

    (answer,) = answers_to(parts, way, [request()[: HEAD + 5]], end)
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert counted(parts) == {"reports": {}, "away": {"session": 1}, "handed": []}


@both_ways
def test_who_reports_too_often_is_asked_to_come_later(way: str, parts: Parts) -> None:
    parts.polls._rates = DeviceRates(RateLimits(of_device=1))
    pieces = [request()] * (BURST_S + 2)
    answers = answers_to(parts, way, pieces, answers=len(pieces))
    assert [answer[9:12] for answer in answers] == [b"204"] * BURST_S + [b"429"] * 2
    assert len(parts.inlet.handed) == BURST_S


@both_ways
def test_a_connection_at_rest_after_a_report_is_closed(way: str, parts: Parts) -> None:
    async def story() -> None:
        client = await parts.connect(way, 0.1)
        await client.send(request())
        await client.read(1)
        assert await asyncio.wait_for(client.reader.read(), 10) == b""

    run(story())
