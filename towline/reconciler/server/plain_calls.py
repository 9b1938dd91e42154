"""Plain calls, as nearly all of a device's are: read without the parser of their connection.

One parser reads them all. Each connection has one of its own for everything else, and in a large
fleet that is never in the processor's caches when its turn comes.
"""

import re
from dataclasses import dataclass

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

_LENGTH = re.compile(rb"[0-9]{1,6}")
_UNUSUAL = frozenset({b"transfer-encoding", b"expect", b"upgrade"})


@dataclass(slots=True)
class Call:
    """One of HTTP/1.1, on a connection that goes on, with a body of known length or none."""

    target: bytes
    headers: dict[bytes, bytes]
    """By their names in small letters; of two that are the same the last."""
    body: bytes
    """As much of it as has come."""
    missing: int
    """How much of it is yet to come."""


class PlainCalls:
    """Belongs to one thread."""

    __slots__ = ("_begun", "_body", "_ended", "_headers", "_is_plain", "_parser", "_target")

    def __init__(self) -> None:
        self._begun = self._ended = 0
        """How many calls did so, in what was read last."""
        self._target = self._body = b""
        self._headers: dict[bytes, bytes] = {}
        self._is_plain = False
        """A head is whole, and is one of a plain call."""
        self._parser = HttpRequestParser(self)

    def read(self, data: bytes) -> Call | None:
        """The one call that begins with `data`, where nothing is behind it.

        None: it is no plain one, or its head is not whole; nothing of it is part of the next.
        """
        self._begun = self._ended = 0
        self._body, self._headers, self._is_plain = b"", {}, False
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade):
            missing = None
        else:
            missing = self._missing()
        if missing != 0:
            # Whoever calls next must find nothing of this: it is in the middle, or takes no more.
            self._parser = HttpRequestParser(self)
        return None if missing is None else Call(self._target, self._headers, self._body, missing)

    def _missing(self) -> int | None:
        """How much is yet to come of the one plain call; None: that is not known, or it is none."""
        if self._begun != 1 or not self._is_plain:
            return None
        if self._ended:
            return 0
        length = self._headers.get(b"content-length", b"")
        return int(length) - len(self._body) if _LENGTH.fullmatch(length) else None

    def on_message_begin(self) -> None:
        """As httptools tells it, like all that follows: by the first byte."""
        self._begun += 1

    def on_url(self, url: bytes) -> None:
        """The target."""
        self._target = url

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header."""
        self._headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        """The end of a head."""
        self._is_plain = (
            self._parser.get_http_version() == "1.1"
            and self._parser.should_keep_alive()
            and _UNUSUAL.isdisjoint(self._headers)
        )

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        self._body += body

    def on_message_complete(self) -> None:
        """The end of a call."""
        self._ended += 1
