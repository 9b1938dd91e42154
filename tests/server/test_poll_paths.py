"""A poll gets the same answer by whichever way it comes in: past ASGI, or through it."""

import asyncio
import sys
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update
from structlog.testing import capture_logs
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from tests.reconciler.simulation import ORGANIZATION, Simulation, manifest
from tests.server.two_ways import DEVICE, Client, Parts, Sent, both_ways, parts_on, run
from towline.reconciler.server import device_connection, known_uvicorn, polls
from towline.reconciler.server.device_connection import BESIDE_LIMIT
from towline.reconciler.server.device_rates import BURST_S, DeviceRates, RateLimits
from towline.reconciler.server.fleets import Fleets, FleetView
from towline.reconciler.server.polls import Asked, Waiting
from towline.reconciler.server.sessions import Session
from towline.reconciler.store import tables as t

ROOT = Path(__file__).parents[2]
NOW_NS = 1_900_000_000 * 10**9
PATH = "/api/v1/ota/desired-state"
WRITTEN_AT_ONCE = 64 * 1024
"""Bytes that are kept for who reads slowly, before nothing more is read of him."""


EARLY = b"POST /api/v1/ota/nothing HTTP/1.1\r\nContent-Length: 5\r\n\r\n"
"""Is answered before its body has come."""


def request(*lines: str, start: str = f"GET {PATH} HTTP/1.1", **changes: str | None) -> bytes:
    """A poll of a device that has the newest document; `changes` are of its headers."""
    headers = {
        "Host": "towline",
        "Authorization": "Bearer right",
        "Towline-Nonce": "A" * 22,
        "Towline-Sequence": "17",
        "If-None-Match": "ETAG",
    } | {name.replace("_", "-"): value for name, value in changes.items()}
    said = (f"{name}: {value}" for name, value in headers.items() if value is not None)
    return "".join(f"{line}\r\n" for line in (start, *said, *lines, "")).encode()


def plain(*lines: str, **changes: Any) -> Sent:
    return Sent([request(*lines, **changes)])


def odd(*lines: str, body: bytes = b"", **changes: Any) -> Sent:
    return Sent([request(*lines, **changes) + body], asgi=1)


def cut(*at: int, asgi: int = 1) -> Sent:
    """The same in pieces that end there."""
    whole = request()
    ends = [0, *(end % len(whole) for end in at), len(whole)]
    return Sent([whole[first:last] for first, last in pairwise(ends)], asgi=asgi)


TOLD: dict[str, Sent] = {
    "unchanged": plain(),
    "with a query": plain(start=f"GET {PATH}?wait=0 HTTP/1.1"),
    "with a wait that is none": plain(start=f"GET {PATH}?wait=soon&wait=60 HTTP/1.1"),
    "with an empty query": plain(start=f"GET {PATH}? HTTP/1.1"),
    "new document": plain(If_None_Match='"other"'),
    "first document": plain(If_None_Match=None),
    "names in capitals": plain("IF-NONE-MATCH: ETAG", If_None_Match='"other"'),
    "the last of two holds": plain('If-None-Match: "other"'),
    "two tokens": odd("Authorization: Bearer wrong"),
    "kept alive": plain("Connection: keep-alive"),
    "a header of 60 KiB": plain(f"X-Long: {'x' * 60_000}"),
    "no nonce": plain(Towline_Nonce=None),
    "short nonce": plain(Towline_Nonce="A" * 21),
    "nonce of other letters": plain(Towline_Nonce="A" * 21 + "+"),
    "negative sequence": plain(Towline_Sequence="-1"),
    "long sequence": plain(Towline_Sequence="1" * 17),
    "foreign digits": plain(Towline_Sequence="\u0661"),
    "no session": odd(Authorization=None),
    "unknown session": odd(Authorization="Bearer guess"),
    "expired session": odd(Authorization="Bearer expired"),
    "another scheme": odd(Authorization="Basic right"),
    "no token": odd(Authorization="Bearer "),
    "no host": plain(Host=None),
    "no host at all": plain(Host="a/b"),
    "of nobody's organization": plain(Authorization="Bearer foreign"),
    "closed after it": odd("Connection: close"),
    "HTTP/1.0": odd(start=f"GET {PATH} HTTP/1.0"),
    "HTTP/1.0 kept alive": odd("Connection: keep-alive", start=f"GET {PATH} HTTP/1.0"),
    "with a body": odd("Content-Length: 5", body=b"hello"),
    "with an empty body": odd("Content-Length: 0"),
    "with chunks": odd("Transfer-Encoding: chunked", body=b"2\r\nhi\r\n0\r\n\r\n"),
    "expecting": odd("Expect: 100-continue", "Content-Length: 2", body=b"hi"),
    "upgrade to something": odd("Connection: upgrade", "Upgrade: h2c"),
    "another method": odd(start=f"POST {PATH} HTTP/1.1"),
    "only the head": odd(start=f"HEAD {PATH} HTTP/1.1"),
    "absolute": odd(start=f"GET http://towline{PATH} HTTP/1.1"),
    "with a fragment": odd(start=f"GET {PATH}?wait=0#60 HTTP/1.1"),
    "escaped": odd(start=f"GET {PATH.replace('state', 'st%61te')} HTTP/1.1"),
    "a longer path": odd(start=f"GET {PATH}s HTTP/1.1"),
    "a path below": odd(start=f"GET {PATH}/ HTTP/1.1"),
    "no HTTP": plain(start="hello"),
    "a bad header": plain("no colon"),
    "after an empty line": Sent([b"\r\n" + request()], asgi=1),
    "cut in the head": cut(10, 60),
    "cut in its end": cut(-2),
    "cut everywhere": cut(*range(1, len(request()))),
    "two at once": Sent([request() * 2], 2, asgi=2),
    "three at once": Sent([request() + request(Towline_Nonce="") + request()], 3, asgi=3),
    "one and a half": Sent([request() + request()[:50], request()[50:]], 2, asgi=2),
    "two, one after the other": Sent([request(), request()], 2),
    "odd, then plain": Sent([request("Content-Length: 2") + b"hi", request()], 2, asgi=1),
    "plain, then closed": Sent([request(), request("Connection: close")], 2, asgi=1),
    "a poll in another head": Sent([b"GET /nothing HTTP/1.1\r\nX-A: ", request()], asgi=1),
    "a poll in another body": Sent(
        [b"POST /nothing HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(request()), request()],
        asgi=1,
    ),
    "a body cut off": Sent([request("Content-Length: 2"), b"hi", request()], 2, asgi=1),
}


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Simulation:
    """One device that is granted one component."""
    fleet = Simulation(tmp_path_factory.mktemp("fleet"), devices=1)
    fleet.commit(manifest("1.0.0", "  strategy: immediate\n"))
    return fleet


@pytest.fixture
def parts(fleet: Simulation, monkeypatch: pytest.MonkeyPatch) -> Parts:
    """On which the time that documents say stands still."""
    monkeypatch.setattr(time, "time_ns", lambda: NOW_NS)
    return parts_on(fleet.store)


async def etag_of(parts: Parts) -> bytes:
    """The document's; from now on it is in memory."""
    parts.polls.doorbell.open()
    session = parts.polls.sessions.find(b"right", 0)
    assert session is not None
    content = await parts.polls.documents.read(session.traces, "https://towline/packages/")
    return content.etag.encode()


@pytest.mark.parametrize("name", TOLD)
def test_both_ways_tell_and_count_the_same(name: str, parts: Parts) -> None:
    sent = TOLD[name]

    async def told(way: str, etag: bytes) -> tuple[bytes, dict[str, Any]]:
        parts.tally.polls.clear()
        parts.tally.turned_away.clear()
        parts.inlet.seen_.clear()
        parts.asgi = 0
        client = await parts.connect(way)
        for piece in sent.pieces:
            await client.send(piece.replace(b"ETAG", etag))
        answers = await client.read(sent.answers)
        client.writer.close()
        tally = {"polls": dict(parts.tally.polls), "away": dict(parts.tally.turned_away)}
        total = parts.states[way].total_requests
        return answers, tally | {"seen": list(parts.inlet.seen_), "total": total}

    async def story() -> None:
        etag = await etag_of(parts)
        through = await told("through", etag)
        assert await told("past", etag) == through
        assert parts.asgi == sent.asgi

    run(story())


Act = Callable[[Client], Coroutine[Any, Any, None]]


def parked(parts: Parts, way: str, act: Act, *more: str, answers: int = 1) -> list[bytes]:
    """What is told to a poll that waits, and to those behind it, once `act` has happened."""
    found = b""

    async def story() -> None:
        nonlocal found
        etag = await etag_of(parts)
        client = await parts.connect(way)
        poll = request(*more, start=f"GET {PATH}?wait=60 HTTP/1.1")
        await client.send(poll.replace(b"ETAG", etag))
        while not parts.polls.doorbell.parked:
            await asyncio.sleep(0.001)
        assert (parts.asgi == 0) is (way == "past" and not more)
        await act(client)
        while parts.polls.doorbell.parked:
            await asyncio.sleep(0.001)
        found = await client.read(answers) if answers else b""
        client.writer.close()

    run(story())
    return [b"HTTP/1.1 " + answer for answer in found.split(b"HTTP/1.1 ")[1:]]


@both_ways
def test_a_ring_wakes_who_waits(way: str, parts: Parts, fleet: Simulation) -> None:
    async def ring(_: Client) -> None:
        with fleet.store.write() as connection:
            connection.execute(update(t.targets).values(attempt=t.targets.c.attempt + 1))
        parts.polls.doorbell.ring([DEVICE])

    (answer,) = parked(parts, way, ring)
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert parts.tally.polls == {(ORGANIZATION, "document"): 1}
    assert parts.inlet.seen_ == [DEVICE, DEVICE, -DEVICE]


@pytest.mark.parametrize("more", [(), ("Content-Length: 0",)])
@both_ways
def test_what_comes_behind_a_poll_that_waits_is_answered_after_it(
    way: str, more: tuple[str, ...], parts: Parts
) -> None:
    async def ask_more(client: Client) -> None:
        await client.send(request(Towline_Nonce=""))
        await client.send(request(Authorization="Bearer wrong"))
        connection: Any = next(iter(parts.states[way].connections))
        assert connection.flow.read_paused  # no more than this is kept
        assert parts.polls.doorbell.parked == 1
        parts.polls.doorbell.close()

    answers = parked(parts, way, ask_more, *more, answers=3)
    assert [answer[9:12] for answer in answers] == [b"304", b"400", b"401"]


@both_ways
def test_what_comes_with_the_end_of_a_head_is_answered_after_it(way: str, parts: Parts) -> None:
    """The first end of a head in a piece need not be that of the first head."""

    async def story() -> None:
        waits = request(start=f"GET {PATH}?wait=1 HTTP/1.1").replace(b"ETAG", await etag_of(parts))
        client = await parts.connect(way)
        await client.send(waits[:-2])
        await client.send(waits[-2:] + request(start="GET /api/v1/ota/nothing HTTP/1.1"))
        parts.polls.doorbell.close()
        got = await client.read(2)
        assert [answer[:3] for answer in got.split(b"HTTP/1.1 ")[1:]] == [b"304", b"404"]

    run(story())


@both_ways
def test_who_leaves_waits_no_longer(way: str, parts: Parts) -> None:
    async def leave(client: Client) -> None:
        client.writer.close()

    with capture_logs() as told:
        assert parked(parts, way, leave, answers=0) == []
    assert not parts.tally.polls
    assert told == []


def test_who_leaves_just_as_it_is_told_is_sent_nothing(parts: Parts) -> None:
    async def leave(client: Client) -> None:
        state = parts.states["past"]
        connection: Any = next(iter(state.connections))
        sent = state.total_requests
        parts.polls.doorbell.close()
        asyncio.get_running_loop().call_soon(connection.connection_lost, None)
        while parts.polls.doorbell.parked:
            await asyncio.sleep(0)
        await client.send(b"")
        assert (state.total_requests, parts.tally.polls[ORGANIZATION, "unchanged"]) == (sent, 1)

    assert parked(parts, "past", leave, answers=0) == []


@both_ways
def test_the_end_of_the_server_is_told_to_who_waits(way: str, parts: Parts) -> None:
    async def end(_: Client) -> None:
        parts.polls.doorbell.close()
        for connection in list(parts.states[way].connections):
            connection.shutdown()

    (answer,) = parked(parts, way, end)
    assert answer.startswith(b"HTTP/1.1 304 ")
    assert answer.endswith(b"connection: close\r\n\r\n<closed>")


@both_ways
def test_a_session_that_ends_is_told_to_who_waits(way: str, parts: Parts) -> None:
    async def end(_: Client) -> None:
        parts.polls.sessions.replace({DEVICE: ""})
        parts.polls.doorbell.ring([DEVICE])

    (answer,) = parked(parts, way, end)
    assert answer.startswith(b"HTTP/1.1 401 ")


@both_ways
def test_a_connection_goes_on_after_a_session_that_ended_just_as_its_poll_came(
    way: str, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another thread may end it at any moment."""
    find = parts.polls.sessions.find

    def find_and_end(token: bytes, now: int) -> Session | None:
        found = find(token, now)
        parts.polls.sessions.replace({DEVICE: ""})
        return found

    async def story() -> None:
        etag = await etag_of(parts)
        client = await parts.connect(way)
        monkeypatch.setattr(parts.polls.sessions, "find", find_and_end)
        waiting = request(start=f"GET {PATH}?wait=60 HTTP/1.1").replace(b"ETAG", etag)
        for number in (1, 2):
            await client.send(waiting)
            await client.read(number)
        assert client.got.count(b"HTTP/1.1 401 ") == 2

    run(story())


def test_only_a_uvicorn_that_is_known_from_inside_is_gone_past(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any other one serves all the same."""
    found = known_uvicorn.connections(parts.polls, parts.reporting)
    assert issubclass(found, HttpToolsProtocol), "the installed one is known"
    for version, is_known in (
        ("0.29.0", True), ("0.54.9", True), ("0.28.1", False), ("0.55.0", False),
        ("0.55rc1", False), ("1.0", False), ("1", False), ("unknown", False),
    ):  # fmt: skip
        assert known_uvicorn.is_known(version) is is_known, version
    monkeypatch.setattr(known_uvicorn, "version", lambda _: "0.55.0")
    monkeypatch.setitem(sys.modules, "uvicorn.protocols.http.httptools_impl", None)
    with capture_logs() as logged:
        assert known_uvicorn.connections(parts.polls, parts.reporting) == "httptools"
    assert [each["event"] for each in logged] == ["uvicorn.unknown"]
    bounds = ">={}.{},<{}.{}".format(*known_uvicorn.FIRST, *known_uvicorn.BEFORE)
    assert f'"uvicorn{bounds}"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")


def test_who_leaves_at_once_is_not_waited_for(parts: Parts) -> None:
    async def story() -> None:
        etag = await etag_of(parts)
        asked = parts.polls.judge(
            parts.polls.sessions.find(b"right", 0) or pytest.fail("no session"),
            {b"host": b"towline", b"towline-nonce": b"A" * 22, b"towline-sequence": b"17"}
            | {b"if-none-match": etag},
            b"wait=60",
            time.time(),
        )
        assert isinstance(asked, Asked)
        Waiting(parts.polls, asked, lambda _: pytest.fail("nobody is there")).give_up()
        await asyncio.sleep(0.01)
        assert parts.polls.doorbell.parked == 0

    run(story())


@both_ways
def test_a_document_that_cannot_be_made_is_an_answer_too(
    way: str, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def ring(_: Client) -> None:
        monkeypatch.setattr(parts.polls.documents, "_store", None)
        parts.polls.doorbell.ring([DEVICE])

    (answer,) = parked(parts, way, ring)
    assert answer.startswith(b"HTTP/1.1 500 ")


@both_ways
def test_who_calls_too_often_is_asked_to_come_later(
    way: str, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "time", lambda: 1_900_000_000.0)
    parts.polls._rates = DeviceRates(RateLimits(of_device=1))

    async def story() -> None:
        etag = await etag_of(parts)
        client = await parts.connect(way)
        for number in range(1, BURST_S + 3):
            await client.send(request().replace(b"ETAG", etag))
            await client.read(number)
        assert client.got.count(b"HTTP/1.1 304 ") == BURST_S
        assert client.got.count(b"HTTP/1.1 429 ") == 2
        assert client.got.count(b"retry-after: 1\r\n") == 2
        assert parts.tally.turned_away == {"rate": 2}

    run(story())


POST = request("Transfer-Encoding: chunked", start="POST /api/v1/ota/session HTTP/1.1")


@pytest.mark.parametrize(
    ("begin", "more", "expected"),
    [
        (b"GET /", b"a" * 1000, b"HTTP/1.1 431 "),
        (b"GET / HTTP/1.1\r\nX-A: ", b"a" * 1000, b"HTTP/1.1 431 "),
        (b"GET / HTTP/1.1\r\n", b"X-A: a\r\n" * 100, b"HTTP/1.1 431 "),
        (POST + b"1;", b"a" * 1000, b""),
        (POST + b"0\r\n", b"X-A: a\r\n" * 100, b""),
    ],
    ids=["address", "header", "headers", "chunk", "trailers"],
)
def test_what_never_ends_beside_a_body_is_cut_before_it_takes_memory(
    begin: bytes, more: bytes, expected: bytes, parts: Parts
) -> None:
    async def story() -> None:
        client = await parts.connect("past")
        await client.send(begin)
        with suppress(ConnectionError, RuntimeError):  # what is closed takes no more
            for _ in range(3 * BESIDE_LIMIT // len(more)):
                await client.send(more)
        with suppress(ConnectionError):
            got = await asyncio.wait_for(client.reader.read(), 10)
            assert got.startswith(expected)

    run(story())


@both_ways
def test_a_connection_at_rest_is_closed_and_one_that_speaks_is_not(way: str, parts: Parts) -> None:
    async def story() -> None:
        etag = await etag_of(parts)
        resting, speaking = await parts.connect(way, 0.2), await parts.connect(way, 0.2)
        for client in (resting, speaking):
            await client.send(request().replace(b"ETAG", etag))
            await client.read(1)
        await speaking.send(request()[:40])
        assert await asyncio.wait_for(resting.reader.read(), 10) == b""
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(speaking.reader.read(), 0.3)

    run(story())


def test_who_is_not_done_with_a_message_is_not_waited_for_without_end(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device_connection, "ARRIVAL_S", 0.2)

    async def drips(begin: bytes, drip: bytes) -> bytes:
        client = await parts.connect("past", 0.1)
        with suppress(ConnectionError, RuntimeError):  # what is closed takes no more
            await client.send(begin)
            for _ in range(20):
                await client.send(drip)
                await asyncio.sleep(0.02)
        with suppress(ConnectionError):
            return await asyncio.wait_for(client.reader.read(), 10)
        return b""

    async def story() -> None:
        silence, line_ends = drips(b"", b""), drips(b"", b"\r\n")
        head, body = drips(b"GET / HTTP/1.1\r\nX-A: ", b"a"), drips(POST, b"1\r\na\r\n")
        said = await asyncio.gather(silence, line_ends, head, body)
        assert not any(said)
        behind = await drips(request(start="GET /api/v1/ota/nothing HTTP/1.1") + POST, b"")
        assert behind.startswith(b"HTTP/1.1 404 ")

    run(story())


def test_who_sends_but_line_ends_says_nothing(parts: Parts) -> None:
    async def story() -> None:
        client = await parts.connect("past", 0.1)
        closed = asyncio.ensure_future(client.reader.read())
        for _ in range(100):
            client.writer.write(b"\r\n")
            await asyncio.sleep(0.01)
            if closed.done():
                break
        assert closed.done()
        closed.exception()

    run(story())


def test_a_message_may_take_its_time(parts: Parts) -> None:
    """More than a connection that rests."""

    async def story() -> None:
        etag = await etag_of(parts)
        client = await parts.connect("past", 0.1)
        whole = request().replace(b"ETAG", etag)
        for number in (1, 2):
            await client.send(whole[:50])
            await asyncio.sleep(0.2)
            await client.send(whole[50:])
            await client.read(number)
        assert client.got.count(b"HTTP/1.1 304 ") == 2

    run(story())


def test_what_comes_behind_an_open_call_does_not_end_it(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device_connection, "ARRIVAL_S", 0.1)

    async def story() -> None:
        poll = request("Content-Length: 0", start=f"GET {PATH}?wait=60 HTTP/1.1")
        etag = await etag_of(parts)
        for behind in (b"\r\n", b"GET "):
            client = await parts.connect("past", 0.1)
            await client.send(poll.replace(b"ETAG", etag))
            await client.send(behind)
            await asyncio.sleep(0.3)
            parts.polls.doorbell.close()
            assert b" 304 " in await client.read(1)
            parts.polls.doorbell.open()

    run(story())


@pytest.mark.parametrize(
    ("begin", "behind"),
    [
        (request(start="GET /api/v1/ota/nothing HTTP/1.1"), b"GET "),
        (EARLY, b"h"),
        (EARLY, b"hello"),
        (EARLY, b"hello\r\n"),
    ],
    ids=["in the next message", "in its body", "behind its body", "behind a line end"],
)
def test_who_falls_silent_after_an_answer_is_not_waited_for(
    begin: bytes, behind: bytes, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device_connection, "ARRIVAL_S", 0.1)

    async def story() -> None:
        client = await parts.connect("past", 0.1)
        await client.send(begin)
        assert b" 404 " in await client.read(1)
        await client.send(behind)
        assert await asyncio.wait_for(client.reader.read(), 10) == b""

    run(story())


def test_a_poll_that_fails_is_an_answer_too(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise ZeroDivisionError

    async def story() -> None:
        monkeypatch.setattr(parts.polls, "judge", fails)
        client = await parts.connect("past")
        with capture_logs() as logs:
            await client.send(request())
            assert b" 500 " in await client.read(1)
        assert [each["event"] for each in logs] == ["poll.unanswered"]

    run(story())


@both_ways
def test_who_reads_no_answers_does_not_fill_the_memory_with_them(way: str, parts: Parts) -> None:
    async def story() -> None:
        client = await parts.connect(way)
        etag = await etag_of(parts)
        for _ in range(2000):
            await client.send(request(If_None_Match='"other"').replace(b"ETAG", etag))
        connection: Any = next(iter(parts.states[way].connections))
        assert connection.flow.write_paused and connection.flow.read_paused
        assert connection.transport.get_write_buffer_size() < 2 * WRITTEN_AT_ONCE
        client.writer.transport.abort()
        while parts.states[way].connections or parts.states[way].tasks:
            await asyncio.sleep(0.001)

    run(story())


@pytest.mark.parametrize("before", [b"\r\n", request(start="GET /api/v1/ota/nothing HTTP/1.1")])
def test_whatever_was_sent_before_a_poll_may_wait(
    before: bytes, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device_connection, "ARRIVAL_S", 0.1)

    async def story() -> None:
        etag = await etag_of(parts)
        client = await parts.connect("past", 0.1)
        await client.send(before)
        if answers := len(before.splitlines()) > 1:
            await client.read(answers)
        await client.send(request(start=f"GET {PATH}?wait=60 HTTP/1.1").replace(b"ETAG", etag))
        await asyncio.sleep(0.3)
        parts.polls.doorbell.close()
        assert b" 304 " in await client.read(1 + answers)

    run(story())


@both_ways
def test_without_a_key_that_the_newest_root_names_nothing_is_said(way: str, parts: Parts) -> None:
    """Not even to whom nothing is new: what it has may be of another key."""

    async def story() -> None:
        etag = await etag_of(parts)
        view = FleetView(ORGANIZATION, lambda: None, lambda: (b"{}",), dict, lambda: None)
        parts.polls._fleets = Fleets([view])
        client = await parts.connect(way)
        for number, known in enumerate((etag, b"another"), start=1):
            await client.send(request().replace(b"ETAG", known))
            await client.read(number)
        assert client.got.count(b"HTTP/1.1 503 ") == client.got.count(b'"not-ready"') == 2

    run(story())


@pytest.mark.parametrize(
    ("query", "wait_s"),
    [
        (b"", 0),
        (b"wait=7", 7),
        (b"a=b&wait=7", 7),
        (b"wait=999999", 60),
        (b"wait=-1", 0),
        (b"wait=1.5", 0),
        (b"wait=%D9%A3", 0),
        (b"wait=0000007", 0),
        (b"wait=" + b"9" * 5000, 0),
        (b"wait=\xff", 0),
    ],
)
def test_a_wait_is_a_short_whole_number(query: bytes, wait_s: int) -> None:
    assert polls._wait_s(query) == wait_s
