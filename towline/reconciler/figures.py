"""Fetches the JSON text of one figure over http or https, and never hangs.

The whole exchange has one deadline: a timeout of a socket is per read, so a second thread shuts the
socket of a server that drips. No redirect, no proxy, no netrc, no cookie. What goes wrong is said
in words that hold nothing of the address or the answer.
"""

import contextlib
import http.client
import socket
import ssl
import threading
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, urlsplit

from towline.reconciler.analysis import CannotTell


@dataclass(frozen=True, slots=True)
class FigureLimits:
    """Every number of a question, with its unit."""

    deadline_s: float = 10.0
    """From the start of the connection to the last byte."""
    size_bytes: int = 1024 * 1024


class Fetcher:
    """Fetches figures, any number at once; `authorities` vouch for https servers.

    None stands for the authorities of the system.
    """

    def __init__(
        self, limits: FigureLimits | None = None, authorities: ssl.SSLContext | None = None
    ) -> None:
        self._limits = limits or FigureLimits()
        self._authorities = authorities
        self._under_way: set[_Line] = set()
        self._is_stopped = False
        self._lock = threading.Lock()

    def stop(self) -> None:
        """Cut what is under way, and whatever is asked for later, too."""
        with self._lock:
            self._is_stopped = True
            for line in self._under_way:
                line.cut()

    def fetch(self, url: str) -> bytes:
        """The body of a 200; raises CannotTell."""
        parts = _split(url)
        line = _line(parts, self._limits, self._authorities)
        cutter = threading.Timer(self._limits.deadline_s, line.cut)
        cutter.daemon = True
        self._begin(line)
        cutter.start()
        try:
            body = _ask(line, parts, self._limits)
        except ssl.SSLCertVerificationError as error:
            raise CannotTell(f"the server's certificate: {error.verify_message}") from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            if line.is_cut or isinstance(error, TimeoutError):
                raise _late(self._limits) from None
            raise CannotTell(f"no answer ({_cause(error)})") from None
        finally:
            cutter.cancel()
            self._end(line)
        if line.is_cut:  # a socket that was shut reads like the end of the body
            raise _late(self._limits)
        return body

    def _begin(self, line: "_Line") -> None:
        with self._lock:
            self._under_way.add(line)
            if self._is_stopped:
                line.cut()

    def _end(self, line: "_Line") -> None:
        with self._lock:
            self._under_way.discard(line)
        line.release()


def _late(limits: FigureLimits) -> CannotTell:
    return CannotTell(f"no whole answer within {limits.deadline_s:g} s")


def _cause(error: Exception) -> str:
    return getattr(error, "strerror", None) or type(error).__name__


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        is_http = parts.scheme in ("http", "https") and bool(parts.hostname)
        is_http = is_http and parts.port != 0
    except ValueError:
        is_http = False
    if not is_http or not url.isascii() or not url.isprintable() or " " in url:
        raise CannotTell("the address is not one of http or https")
    return parts


class _Line(http.client.HTTPConnection):
    """A connection that another thread may cut at any time."""

    def __init__(self, *where: Any, **options: Any) -> None:
        super().__init__(*where, **options)
        self.is_cut = False
        self._double: socket.socket | None = None
        self._lock = threading.Lock()

    def connect(self) -> None:
        """Connect, before any handshake; raises TimeoutError when it was cut meanwhile."""
        super().connect()
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


class _SecureLine(http.client.HTTPSConnection, _Line):
    """The same over TLS: the handshake comes after `_Line.connect`."""


def _line(parts: SplitResult, limits: FigureLimits, authorities: ssl.SSLContext | None) -> _Line:
    host, timeout_s = parts.hostname or "", limits.deadline_s
    if parts.scheme == "http":
        return _Line(host, parts.port or 80, timeout=timeout_s)
    context = authorities or ssl.create_default_context()
    return _SecureLine(host, parts.port or 443, timeout=timeout_s, context=context)


def _ask(line: _Line, parts: SplitResult, limits: FigureLimits) -> bytes:
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    headers = {"Accept": "application/json", "User-Agent": "towline"}
    line.request("GET", target, headers=headers)
    with line.getresponse() as response:
        if 300 <= response.status < 400:
            raise CannotTell(f"the server answered {response.status}; no redirect is followed")
        if response.status != 200:
            raise CannotTell(f"the server answered {response.status}")
        body = response.read(limits.size_bytes + 1)
        if len(body) > limits.size_bytes:
            raise CannotTell(f"the answer is larger than {limits.size_bytes} bytes")
        if response.length:
            raise http.client.IncompleteRead(body, response.length)
        return body
