"""One connection of a simulated device: HTTP/1.1 over TLS, one exchange at a time.

Small and our own because it was measured: an exchange costs 21 µs of a processor here, 107 with
aiohttp and over 4,000 with httpx, and it is asked for some thousand times a second. httptools
parses, as it does in the server.
"""

import asyncio
import hashlib
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import httptools

from towline.agent.server import Answer
from towline.agent.wire import CONNECT_TIMEOUT_S, Unreachable, unverified
from towline.schemas.envelope import ENVELOPE_LIMIT_BYTES
from towline.schemas.problems import Problem


class TooLate(Unreachable):
    """The other side is there, and did not answer in time."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where the server is, and what vouches for it."""

    url: str
    """`https://HOST:PORT`."""
    pin: str | None = None
    """`sha256:<hex>` of its certificate, where only that one counts."""
    ca: Path | None = None
    """The authorities, PEM, that vouch for it where there is no pin; None: the system's."""

    def context(self) -> ssl.SSLContext:
        """What all lines of a process share; raises Problem."""
        if self.pin is not None:
            return unverified()
        try:
            return ssl.create_default_context(cafile=self.ca)
        except OSError as error:
            raise Problem(f"the certificates {self.ca} cannot be read: {error}") from None


class Line(asyncio.Protocol):
    """A connection that is kept; `ask` raises Unreachable when it is of no use any more."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._answer: asyncio.Future[Answer] | None = None
        self._headers: dict[str, str] = {}
        self._body = b""
        self.is_open = False

    async def ask(self, request: bytes, timeout_s: float) -> Answer:
        """Send a whole request; its answer."""
        if self._transport is None or not self.is_open:
            raise Unreachable("closed")
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        try:
            async with asyncio.timeout(timeout_s):
                return await self._answer
        except TimeoutError:
            self.close()
            raise TooLate("no answer in time") from None
        finally:
            self._answer = None

    def close(self) -> None:
        """Close it, whatever is under way."""
        self.is_open = False
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """TLS stands."""
        # uvloop's is none by its class, and all of it by what it does.
        self._transport, self.is_open = cast(asyncio.Transport, transport), True

    def connection_lost(self, error: Exception | None) -> None:
        """The other side has closed, or the network has."""
        self.is_open = False
        self._fail(type(error).__name__ if error else "closed")

    def data_received(self, data: bytes) -> None:
        """A piece of an answer."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(type(error).__name__)
            self.close()

    def on_message_begin(self) -> None:
        """Of the parser: an answer begins."""
        self._headers, self._body = {}, b""

    def on_header(self, name: bytes, value: bytes) -> None:
        """Of the parser."""
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, data: bytes) -> None:
        """Of the parser."""
        self._body += data
        if len(self._body) > ENVELOPE_LIMIT_BYTES:
            self._fail("the answer is longer than 64 KiB")
            self.close()

    def on_message_complete(self) -> None:
        """Of the parser: the answer is whole."""
        if not self._parser.should_keep_alive():
            self.close()
        if self._answer is not None and not self._answer.done():
            status = self._parser.get_status_code()
            self._answer.set_result(Answer(status, self._headers, self._body))

    def _fail(self, words: str) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(Unreachable(words))


async def connect(address: Address, context: ssl.SSLContext) -> Line:
    """A new line; raises Unreachable, also when the certificate is not the one that counts."""
    parts = urlsplit(address.url)
    host = parts.hostname or ""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            transport, line = await loop.create_connection(
                Line, host, parts.port or 443, ssl=context, server_hostname=host
            )
    except (OSError, ssl.SSLError, TimeoutError) as error:
        raise Unreachable(type(error).__name__) from None
    shown = transport.get_extra_info("ssl_object").getpeercert(binary_form=True) or b""
    if address.pin is not None and f"sha256:{hashlib.sha256(shown).hexdigest()}" != address.pin:
        line.close()
        raise Unreachable("the certificate is not the pinned one")
    return line


def request(
    address: Address, method: str, path: str, headers: Mapping[str, Any], body: bytes = b""
) -> bytes:
    """A whole request as it goes over the line."""
    named = {"Host": urlsplit(address.url).netloc, **headers}
    if method == "POST":
        named["Content-Length"] = len(body)
    lines = "".join(f"{name}: {value}\r\n" for name, value in named.items())
    return f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode("latin-1") + body
