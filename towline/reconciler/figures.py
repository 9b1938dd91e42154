"""Fetches the JSON text of one figure over http or https, and never hangs.

The whole exchange has one deadline: a timeout of a socket is per read, so a second thread shuts the
socket of a server that drips. No redirect, no proxy, no netrc, no cookie. What goes wrong is said
in words that hold nothing of the address or the answer.
"""

import http.client
import ssl
import threading
from dataclasses import dataclass
from urllib.parse import SplitResult

from towline.reconciler.analysis import CannotTell
from towline.reconciler.bounded_line import Line, line_to, split_address


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
        self._under_way: set[Line] = set()
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
        line = line_to(parts, self._limits.deadline_s, self._authorities)
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

    def _begin(self, line: Line) -> None:
        with self._lock:
            self._under_way.add(line)
            if self._is_stopped:
                line.cut()

    def _end(self, line: Line) -> None:
        with self._lock:
            self._under_way.discard(line)
        line.release()


def _late(limits: FigureLimits) -> CannotTell:
    return CannotTell(f"no whole answer within {limits.deadline_s:g} s")


def _cause(error: Exception) -> str:
    return getattr(error, "strerror", None) or type(error).__name__


def _split(url: str) -> SplitResult:
    parts = split_address(url)
    if parts is None:
        raise CannotTell("the address is not one of http or https")
    return parts


def _ask(line: Line, parts: SplitResult, limits: FigureLimits) -> bytes:
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
