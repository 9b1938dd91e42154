"""A look at a package where devices would fetch it: its size and checksum, and nothing else.

From the server's own folder, or over https from hosts that the Policy allows; redirects are
followed by hand, each by the same rules. Bounded in time and size; a file is never kept. It runs in
its caller's thread.
"""

import errno
import hashlib
import http.client
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import urljoin

from towline.reconciler.bounded_line import Line, line_to, split_address
from towline.reconciler.server.packages import find_package
from towline.schemas.hosts import Hosts
from towline.schemas.problems import Refused

_CHUNK_BYTES = 256 * 1024
_REDIRECTS = 3


@dataclass(frozen=True, slots=True)
class LookLimits:
    """Every number of a look, with its unit."""

    deadline_s: float = 60.0
    size_bytes: int = 4 * 1024**3
    at_once: int = 2


@dataclass(frozen=True, slots=True)
class Looked:
    """What was found."""

    size: int
    """Bytes."""
    sha256: str


class CannotLook(Exception):
    """Why there is no size and checksum, in words for people."""


class PackageLook:
    """Looks at packages for one server; safe to use from any thread."""

    def __init__(
        self,
        own: Path | None,
        limits: LookLimits | None = None,
        authorities: ssl.SSLContext | None = None,
        is_stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        """`own` is the folder below /packages/; None: there is none."""
        self._own = own
        self._limits = limits or LookLimits()
        self._authorities = authorities
        self._is_stopping = is_stopping
        self._room = threading.BoundedSemaphore(self._limits.at_once)

    def look(self, url: str, hosts: Sequence[str]) -> Looked:
        """Read it through once; raises CannotLook.

        Without `hosts` every host is allowed that has a name and is no neighbour of the server.
        """
        if not self._room.acquire(blocking=False):
            raise CannotLook("other packages are being looked at; try again in a moment")
        try:
            if "://" not in url:
                return self._measure(self._read_own(url))
            return self._look_elsewhere(url, hosts)
        finally:
            self._room.release()

    def _read_own(self, name: str) -> Iterator[bytes]:
        found = find_package(self._own, name) if self._own is not None else None
        if found is None:
            raise CannotLook(f"there is no {name[:80]} below the server's /packages/")
        try:
            with found[0].open("rb") as file:
                while chunk := file.read(_CHUNK_BYTES):
                    yield chunk
        except OSError as error:
            raise CannotLook(f"{name[:80]} cannot be read: {error.strerror}") from None

    def _look_elsewhere(self, url: str, hosts: Sequence[str]) -> Looked:
        end = time.monotonic() + self._limits.deadline_s
        for _ in range(_REDIRECTS + 1):
            found = self._ask(url, hosts, end)
            if isinstance(found, Looked):
                return found
            url = urljoin(url, found)
        raise CannotLook(f"it leads on more than {_REDIRECTS} times")

    def _ask(self, url: str, hosts: Sequence[str], end: float) -> Looked | str:
        """What is there, or where it leads on."""
        parts = split_address(url)
        if parts is None or parts.scheme != "https" or parts.username is not None:
            raise CannotLook("packages come over https, without a password in the address")
        if hosts and parts.hostname not in hosts:
            raise CannotLook(f"the Policy allows no packages from {parts.hostname}")
        left_s = max(0.1, end - time.monotonic())
        host, port, allowed = parts.hostname or "", parts.port or 443, Hosts(names=hosts)
        line = line_to(parts, left_s, self._authorities)
        line.admit = partial(allowed.check_address, host, port)
        cutter = threading.Timer(left_s, line.cut)
        cutter.daemon = True
        cutter.start()
        try:
            allowed.check_name(host, port)
            found = self._fetch(line, parts.path or "/", parts.query)
        except Refused as refused:
            raise CannotLook(f"no package is looked at there: {refused.detail}") from None
        except ssl.SSLCertVerificationError as error:
            raise CannotLook(f"the server's certificate: {error.verify_message}") from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            if line.is_cut or isinstance(error, TimeoutError):
                raise self._late() from None
            cause = getattr(error, "strerror", None) or type(error).__name__
            raise CannotLook(f"no whole answer ({cause})") from None
        finally:
            cutter.cancel()
            line.release()
        if line.is_cut:  # a socket that was shut reads like the end of the body
            raise self._late()
        return found

    def _fetch(self, line: Line, path: str, query: str) -> Looked | str:
        headers = {"Accept-Encoding": "identity", "User-Agent": "towline"}
        line.request("GET", f"{path}?{query}" if query else path, headers=headers)
        with line.getresponse() as response:
            if response.status in (301, 302, 303, 307, 308):
                return response.headers.get("Location") or ""
            if response.status != 200:
                raise CannotLook(f"the server answered {response.status}")
            found = self._measure(iter(lambda: response.read(_CHUNK_BYTES), b""))
            if response.length:
                raise OSError(errno.ECONNRESET, "it broke off")
            return found

    def _measure(self, chunks: Iterator[bytes]) -> Looked:
        size, digest = 0, hashlib.sha256()
        for chunk in chunks:
            size += len(chunk)
            digest.update(chunk)
            if size > self._limits.size_bytes:
                raise CannotLook(f"it is larger than {self._limits.size_bytes} bytes")
            if self._is_stopping():
                raise CannotLook("the server is stopping")
        return Looked(size, digest.hexdigest())

    def _late(self) -> CannotLook:
        return CannotLook(
            f"it was not there within {self._limits.deadline_s:g} s: say its checksum yourself,"
            " `sha256sum FILE` tells it"
        )
