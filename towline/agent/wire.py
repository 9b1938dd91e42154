"""One HTTPS connection that cannot hang: TLS with an optional pin, and a watchdog.

A timeout of a socket is per read, so that slow headers and drips never end; here a second thread
shuts the socket when the whole exchange takes too long or is too slow. No proxy, no netrc, no
cookie, no redirect: `http.client` does what it is told and nothing else.
"""

import hashlib
import http.client
import socket
import ssl
import threading
import time
from collections.abc import Callable
from types import TracebackType
from urllib.parse import SplitResult, urlsplit

from towline.schemas.problems import Refused

CONNECT_TIMEOUT_S = 15.0
_NO_CHECK_TIME = 0x200000
"""OpenSSL's X509_V_FLAG_NO_CHECK_TIME."""
_CLOCK_TOLERANCE_S = 3600


class Unreachable(Exception):
    """The other side did not answer, or not in time; worth another try later."""


WIRE_ERRORS = (OSError, http.client.HTTPException, ValueError)
"""What an exchange may end with; ValueError: http.client reads a closed response."""


def split_https(url: str) -> SplitResult:
    """An https URL in parts; raises Refused `scheme`, `userinfo` or `host`."""
    try:
        parts = urlsplit(url)
        has_host = bool(parts.hostname) and (parts.port or 443) > 0
    except ValueError:
        raise Refused("host", url[:100]) from None
    if parts.scheme != "https":
        raise Refused("scheme", url[:100])
    if "@" in parts.netloc:
        raise Refused("userinfo")
    if not has_host or not url.isascii() or not url.isprintable() or " " in url:
        raise Refused("host", ascii(url[:100]))
    return parts


def authority(parts: SplitResult) -> tuple[str, int]:
    """Host and port."""
    return parts.hostname or "", parts.port or 443


def unverified() -> ssl.SSLContext:
    """TLS without authorities: for `Line`, which compares the pin itself."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class Line(http.client.HTTPSConnection):
    """A connection whose socket another thread may shut at any time.

    With a pin only the server's own certificate counts: its SHA-256 in DER, whatever its names.
    Without one the system's authorities vouch for the host's name.
    """

    def __init__(
        self,
        host: str,
        port: int,
        pin: str | None,
        *,
        least_time: int = 0,
        admit: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`least_time`: it is that late at least; `admit` may refuse the address connected to."""
        self._tls = ssl.create_default_context() if pin is None else unverified()
        self._is_clock_wrong = time.time() < least_time - _CLOCK_TOLERANCE_S
        if self._is_clock_wrong:
            # Of 1970 every certificate is from the future; what comes over TLS is signed, too.
            self._tls.verify_flags |= _NO_CHECK_TIME
        super().__init__(host, port, timeout=CONNECT_TIMEOUT_S, context=self._tls)
        self._pin = pin
        self._least_time = least_time
        self._admit = admit
        self._is_cut = False

    def connect(self) -> None:
        """Connect and shake hands; before anything is sent, raises Refused.

        `host` where the address is not admitted, `server-certificate` where another one is shown.
        """
        raw = socket.create_connection((self.host, self.port), CONNECT_TIMEOUT_S)
        try:
            self._admit(raw.getpeername()[0])
        except Refused:
            raw.close()
            raise
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        secured = self._tls.wrap_socket(
            raw, server_hostname=self.host, do_handshake_on_connect=False
        )
        self.sock = secured
        if self._is_cut:
            raise TimeoutError("the connection took too long")
        secured.do_handshake()
        if self._pin is not None and self.fingerprint() != self._pin:
            self.close()
            raise Refused("server-certificate", f"it is not the pinned one of {self.host}")
        if self._is_clock_wrong and self._pin is None and self._has_run_out():
            self.close()
            raise Refused("server-certificate", f"that of {self.host} has run out")

    def _has_run_out(self) -> bool:
        """Whether the certificate ended before the least time that can be true."""
        shown = self.sock.getpeercert() if isinstance(self.sock, ssl.SSLSocket) else None
        end = (shown or {}).get("notAfter")
        return not isinstance(end, str) or ssl.cert_time_to_seconds(end) < self._least_time

    def certificate(self) -> bytes:
        """The server's certificate in DER."""
        if not isinstance(self.sock, ssl.SSLSocket):
            raise Unreachable("not connected")
        return self.sock.getpeercert(binary_form=True) or b""

    def fingerprint(self) -> str:
        """`sha256:<hex>` of the server's certificate."""
        return f"sha256:{hashlib.sha256(self.certificate()).hexdigest()}"

    def patience(self, seconds: float) -> None:
        """How long one read may take from now on."""
        self.timeout = seconds
        if self.sock is not None:
            self.sock.settimeout(seconds)

    def cut(self) -> None:
        """Shut the socket; whoever reads from it stops at once."""
        self._is_cut = True
        if self.sock is not None:
            try:
                # Not SSLSocket.shutdown: that one is for the thread that reads.
                socket.socket.shutdown(self.sock, socket.SHUT_RDWR)
            except OSError:
                return


class Watchdog:
    """Cuts a line after `deadline_s`, or when fewer than `floor_bytes` came in `window_s`."""

    def __init__(
        self, line: Line, deadline_s: float, *, floor_bytes: int = 0, window_s: float = 60.0
    ) -> None:
        self._line = line
        self._deadline_s = deadline_s
        self._floor_bytes = floor_bytes
        self._window_s = window_s
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
        self.received = 0
        """Bytes so far; the reader counts them up."""
        self.verdict = ""
        """`deadline` or `too-slow` once it has cut the line."""

    def __enter__(self) -> "Watchdog":
        self._thread.start()
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._is_over.set()
        self._thread.join()

    def _watch(self) -> None:
        end = time.monotonic() + self._deadline_s
        before = 0
        while not self.verdict:
            left = end - time.monotonic()
            if self._is_over.wait(max(0.0, min(left, self._window_s))):
                return
            if time.monotonic() >= end:
                self.verdict = "deadline"
            elif self.received - before < self._floor_bytes:
                self.verdict = "too-slow"
            before = self.received
        self._line.cut()
