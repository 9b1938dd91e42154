"""Each request of people has an id: the caller's `X-Request-Id`, or one of ours.

The answer says it and the audit keeps it, so that a line in a log of any party finds the others.
"""

import re
import secrets

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADER = "X-Request-Id"
_GRAMMAR = re.compile(r"[A-Za-z0-9._-]{1,64}")


def request_id(connection: HTTPConnection) -> str:
    """The id of a request."""
    found: str = connection.state.request_id
    return found


class RequestIds:
    """Gives each request its id, and says it in the answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get(HEADER, "")
        number = given if _GRAMMAR.fullmatch(given) else secrets.token_hex(8)
        scope.setdefault("state", {})["request_id"] = number

        async def say(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)[HEADER] = number
            await send(message)

        await self._app(scope, receive, say)
