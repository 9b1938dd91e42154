"""HTTP as the raw ASGI parts of the server speak it: bodies with a limit, answers, problems."""

import re
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass, replace
from functools import lru_cache
from http import HTTPStatus
from typing import Any

import orjson

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_HOST = re.compile(r"[A-Za-z0-9.-]{1,253}(:\d{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](:\d{1,5})?")

DEVICE_BODY_LIMIT = 64 * 1024
PERSON_BODY_LIMIT = 1024 * 1024
ARRIVING_LIMIT = 256 * 1024 * 1024
RETRY_AFTER_S = 10
HOST_LIMIT_BYTES = 260


class TooLarge(Exception):
    """A body went over its limit while it arrived."""


class NoRoom(Exception):
    """More bodies arrive at once than there is memory for."""


class Disconnected(Exception):
    """The client went away before its body was whole."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One whole answer."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    content_type: str = "application/json"
    code: str = ""
    """Of a problem."""
    is_of_one: bool = False
    """Nobody else is ever told just this."""

    def wire_headers(self) -> tuple[tuple[bytes, bytes], ...]:
        """As they go over the line, those of the body among them."""
        return self._head()[0]

    def header_lines(self) -> bytes:
        """The same as one text, for who writes the answer by himself."""
        return self._head()[1]

    def _head(self) -> "_Head":
        made = _head_of if self.is_of_one else _head_of_many
        return made(self.status, self.headers, self.content_type, len(self.body))

    async def send(self, send: Send) -> None:
        """Send it."""
        headers = self.wire_headers()
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": self.body})


_Head = tuple[tuple[tuple[bytes, bytes], ...], bytes]


def _head_of(
    status: int, given: tuple[tuple[str, str], ...], content_type: str, length: int
) -> _Head:
    headers = [(name.lower().encode(), value.encode("latin-1")) for name, value in given]
    if status not in (204, 304):
        headers.append((b"content-type", content_type.encode()))
        headers.append((b"content-length", b"%d" % length))
    return tuple(headers), b"".join([b"%b: %b\r\n" % each for each in headers])


_head_of_many = lru_cache(1024)(_head_of)
"""Thousands of devices are answered with the same headers."""


def json_answer(status: int, document: object, *headers: tuple[str, str]) -> Answer:
    """An answer with a JSON body."""
    return Answer(status, orjson.dumps(document), headers)


def problem_document(status: int, code: str, detail: str = "", **more: object) -> dict[str, Any]:
    """RFC 9457, with our kebab-case `code`."""
    return {
        "type": f"urn:towline:{code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail or code,
        "code": code,
        **more,
    }


def problem(status: int, code: str, detail: str = "", **more: object) -> Answer:
    """An answer that says what went wrong."""
    body = orjson.dumps(problem_document(status, code, detail, **more))
    return Answer(status, body, content_type="application/problem+json", code=code)


def come_later(status: int, code: str, detail: str, after_s: int = RETRY_AFTER_S) -> Answer:
    """A problem that goes away by itself."""
    answer = problem(status, code, detail)
    return replace(answer, headers=(("retry-after", str(after_s)),))


BUSY = come_later(503, "busy", "more waits to be written than there is room for: come later")
NO_ROOM = come_later(503, "busy", "more arrives at once than there is room for: come later")
STORE_AWAY = come_later(503, "store", "the store cannot be used now: come later")


def too_large(limit: int) -> Answer:
    """413; the connection is closed, because the rest of the body was not read."""
    answer = problem(413, "too-large", f"a body is at most {limit} bytes")
    return Answer(answer.status, answer.body, (("connection", "close"),), answer.content_type)


def headers_of(scope: Scope) -> dict[str, str]:
    """The request's headers by lower-case name."""
    pairs: Iterable[tuple[bytes, bytes]] = scope["headers"]
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in pairs}


def source_of(scope: Scope) -> str:
    """The address that the request comes from."""
    return str(scope["client"][0]) if scope.get("client") else ""


def packages_url(host: bytes) -> str | None:
    """Where the server's packages lie, as the caller reached it; None for a Host that is none."""
    return _packages_url(host) if len(host) <= HOST_LIMIT_BYTES else None


@lru_cache(256)
def _packages_url(host: bytes) -> str | None:
    text = host.decode("latin-1")
    return f"https://{text}/packages/" if _HOST.fullmatch(text) else None


class Arriving:
    """What arrives at this moment in this process, of everybody together."""

    size = 0


arriving = Arriving()


async def read_body(receive: Receive, limit: int) -> bytes:
    """The whole body; raises TooLarge as soon as it is over `limit` bytes, NoRoom or Disconnected.

    Whoever sends it need not be known yet, so that there is a limit to all of them together, too.
    """
    parts: list[bytes] = []
    size = 0
    try:
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise Disconnected
            part = message.get("body", b"")
            size += len(part)
            arriving.size += len(part)
            if size > limit:
                raise TooLarge
            if arriving.size > ARRIVING_LIMIT:
                raise NoRoom
            parts.append(part)
            if not message.get("more_body", False):
                return b"".join(parts)
    finally:
        arriving.size -= size
