"""A connection to an http or https server with one deadline: a second thread shuts its socket.

A timeout of a socket is per read, so that a server that drips never times out by itself.
"""

import contextlib
import http.client
import socket
import ssl
import threading
from collections.abc import Callable
from typing import Any
from urllib.parse import SplitResult, urlsplit


def split_address(url: str) -> SplitResult | None:
    """The parts of an http or https address; None for anything else."""
    try:
        parts = urlsplit(url)
        is_http = parts.scheme in ("http", "https") and bool(parts.hostname)
        is_http = is_http and parts.port != 0
    except ValueError:
        return None
    is_plain = url.isascii() and url.isprintable() and " " not in url
    return parts if is_http and is_plain else None


class Line(http.client.HTTPConnection):
    """A connection that another thread may cut at any time."""

    def __init__(self, *where: Any, **options: Any) -> None:
        super().__init__(*where, **options)
        self.is_cut = False
        self.admit: Callable[[str], None] = lambda _: None
        """May refuse, by raising, the address that the host's name led to."""
        self._double: socket.socket | None = None
        self._lock = threading.Lock()

    def connect(self) -> None:
        """Connect, before any handshake; raises TimeoutError when it was cut meanwhile."""
        super().connect()
        self.admit(self.sock.getpeername()[0])
        with self._lock:
            # TLS takes the socket over; shutting its double still shuts the connection.
            self._double = self.sock.dup()
            if self.is_cut:
                raise TimeoutError

    def cut(self) -> None:
        """Shut the connection; whoever reads from it stops at once."""
        with self._lock:
            self.is_cut = True
            if self._double is not None:
                with contextlib.suppress(OSError):
                    self._double.shutdown(socket.SHUT_RDWR)

    def release(self) -> None:
        """Close everything; `close` alone is called by http.client while the body is still read."""
        self.close()
        with self._lock:
            if self._double is not None:
                self._double.close()
                self._double = None


class _SecureLine(http.client.HTTPSConnection, Line):
    """The same over TLS: the handshake comes after `Line.connect`."""


def line_to(parts: SplitResult, timeout_s: float, authorities: ssl.SSLContext | None) -> Line:
    """One that is not connected yet; without `authorities` those of the system vouch."""
    host = parts.hostname or ""
    if parts.scheme == "http":
        return Line(host, parts.port or 80, timeout=timeout_s)
    context = authorities or ssl.create_default_context()
    return _SecureLine(host, parts.port or 443, timeout=timeout_s, context=context)
