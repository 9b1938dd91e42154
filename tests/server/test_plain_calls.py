"""One reader for the calls of all connections: what one sends is never part of another's."""

from hypothesis import example, given
from hypothesis import strategies as st

from towline.reconciler.server.plain_calls import Call, PlainCalls

POLL = b"GET /poll HTTP/1.1\r\nAuthorization: Bearer own\r\nTowline-Nonce: n\r\n\r\n"
REPORT = b"POST /report HTTP/1.1\r\nAuthorization: Bearer own\r\nContent-Length: 5\r\n\r\nhello"
POLLED = Call(b"/poll", {b"authorization": b"Bearer own", b"towline-nonce": b"n"}, b"", 0)
HEADERS = {b"authorization": b"Bearer own", b"content-length": b"5"}
REPORTED = Call(b"/report", HEADERS, b"hello", 0)

_LINES = st.sampled_from(
    (
        *(
            b"GET /a HTTP/1.1",
            b"POST /b HTTP/1.1",
            b"GET /c HTTP/1.0",
            b"PRI * HTTP/2.0",
            b"",
            b" ",
        ),
        *(b"Authorization: Bearer stolen", b"Content-Length: 3", b"Content-Length: 40", b"Host: h"),
        *(b"Connection: close", b"connection: Keep-Alive", b"Transfer-Encoding: chunked", b"3"),
        *(b"Upgrade: h2c\r\nConnection: upgrade", b"Expect: 100-continue", b"abc", b"\0", b"0"),
    )
)
_SENT = st.one_of(
    st.lists(_LINES, max_size=9).map(b"\r\n".join),
    st.lists(_LINES, max_size=9).map(b"\n".join),
    st.binary(max_size=60),
    st.tuples(st.sampled_from((POLL, REPORT)), st.integers(0, 90)).map(lambda at: at[0][: at[1]]),
    st.tuples(st.sampled_from((POLL, REPORT)), st.binary(max_size=9)).map(b"".join),
)


@given(st.lists(_SENT, max_size=6))
@example([POLL + b"G"])
@example([b"GET /a HTTP/1.1\r\nConnection: close\r\nConnection: keep-alive\r\n\r\n"])
@example([REPORT[:-1], b"x"])
@example([REPORT + b"\r\n"])
def test_whatever_others_sent_a_call_is_read_as_if_it_were_the_first(others: list[bytes]) -> None:
    calls = PlainCalls()
    for sent in others:
        assert calls.read(sent) == PlainCalls().read(sent)
    assert calls.read(POLL) == POLLED
    assert calls.read(REPORT) == REPORTED


@given(st.integers(0, len(REPORT)))
def test_of_a_call_is_known_how_much_is_missing_once_its_head_is_whole(length: int) -> None:
    head = REPORT.index(b"\r\n\r\n") + 4
    found = PlainCalls().read(REPORT[:length])
    if length < head:
        assert found is None
    else:
        body = REPORT[head:length]
        assert found == Call(b"/report", HEADERS, body, len(REPORT) - length)


@given(st.binary(min_size=1, max_size=80))
@example(b"\r\n" + POLL)
@example(POLL)
@example(POLL[:-1])
def test_what_has_something_behind_it_is_no_plain_call(behind: bytes) -> None:
    """But line ends, which may stand between two messages."""
    for call in (POLL, REPORT):
        found = PlainCalls().read(call + behind)
        assert found is None or not behind.strip(b"\r\n")
