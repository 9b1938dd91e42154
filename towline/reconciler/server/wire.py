"""HTTP as the raw ASGI parts of the server speak it: bodies with a limit, answers, problems."""

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from dataclasses import dataclass
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


class TooLarge(Exception):
    """A body went over its limit while it arrived."""


class Disconnected(Exception):
    """The client went away before its body was whole."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One whole answer."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    content_type: str = "application/json"

    async def send(self, send: Send) -> None:
        """Send it."""
        headers = [(name.lower().encode(), value.encode("latin-1")) for name, value in self.headers]
        if self.status not in (204, 304):
            headers.append((b"content-type", self.content_type.encode()))
            headers.append((b"content-length", b"%d" % len(self.body)))
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": self.body})


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
    return Answer(status, body, content_type="application/problem+json")


def too_large(limit: int) -> Answer:
    """413; the connection is closed, because the rest of the body was not read."""
    answer = problem(413, "too-large", f"a body is at most {limit} bytes")
    return Answer(answer.status, answer.body, (("connection", "close"),), answer.content_type)


def headers_of(scope: Scope) -> dict[str, str]:
    """The request's headers by lower-case name."""
    pairs: Iterable[tuple[bytes, bytes]] = scope["headers"]
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in pairs}


def packages_url(headers: Mapping[str, str]) -> str | None:
    """Where the server's packages lie, as the caller reached it; None for a Host that is none."""
    host = headers.get("host", "")
    return f"https://{host}/packages/" if _HOST.fullmatch(host) else None


async def read_body(receive: Receive, limit: int) -> bytes:
    """The whole body; raises TooLarge as soon as it is over `limit` bytes, or Disconnected."""
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Disconnected
        part = message.get("body", b"")
        size += len(part)
        if size > limit:
            raise TooLarge
        parts.append(part)
        if not message.get("more_body", False):
            return b"".join(parts)
