"""Downloads one package file: resumed, bounded in time, size and slowness, verified when done.

Only https, only from allowed hosts, redirects by hand, never more bytes than were signed. A file is
moved to its place only after its whole content, from byte 0 on, has the signed checksum.
"""

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import urljoin

from towline.agent import durable
from towline.agent.transfer import (
    FetchFailed,
    Passing,
    Wanted,
    WireFailed,
    ask,
    forget,
    validator_of,
)
from towline.agent.wire import Line, Watchdog, authority, split_https
from towline.schemas.hosts import Hosts
from towline.schemas.problems import Refused

MARGIN_BYTES = 1024 * 1024
"""Left free for the journal and for others."""


class Stopped(Exception):
    """The agent was told to stop; what is there stays for the next start."""


@dataclass(frozen=True, slots=True)
class FetchLimits:
    """Every number of a download, with its unit."""

    deadline_s: float = 3600.0
    """For the whole of it, tries and pauses included."""
    floor_bytes_per_s: int = 1000
    floor_window_s: float = 60.0
    tries: int = 5
    """For each URL in turn."""
    backoff_s: float = 1.0
    """Doubled after each try."""
    redirects: int = 3


def _sleep(seconds: float) -> bool:
    time.sleep(seconds)
    return False


class Fetcher:
    """Downloads into one folder; `pins` are certificates by (host, port), others by the CAs."""

    def __init__(
        self,
        folder: Path,
        pins: Mapping[tuple[str, int], str],
        limits: FetchLimits | None = None,
        *,
        hosts: Hosts | None = None,
        least_time: Callable[[], int] = lambda: 0,
        free_bytes: Callable[[Path], int] = durable.free_bytes,
        pause: Callable[[float], bool] = _sleep,
    ) -> None:
        self._folder = folder
        self._pins = pins
        self._limits = limits or FetchLimits()
        self._hosts = hosts or Hosts()
        self._least_time = least_time
        """It is that late at least, whatever the system's clock says."""
        self._free_bytes = free_bytes
        self._pause = pause
        """Waits; True when the agent is to stop."""
        self._line: Line | None = None

    def abort(self) -> None:
        """End a download under way, from a signal handler."""
        if self._line is not None:
            self._line.cut()

    def fetch(self, wanted: Wanted, deadline_s: float | None = None) -> Path:
        """The whole, verified file; raises FetchFailed or Stopped."""
        done = self._folder / f"{wanted.sha256}.tar.gz"
        if done.exists():
            return done
        part = self._folder / f"{wanted.sha256}.part"
        end = time.monotonic() + min(self._limits.deadline_s, deadline_s or float("inf"))
        self._check_room(wanted, part)
        failure = FetchFailed("DownloadFailed", "the document names no address")
        for url in wanted.urls:
            try:
                self._persist(url, wanted, part, end)
            except FetchFailed as error:
                failure = failure if failure.reason == "ChecksumMismatch" else error
                if error.reason == "NoSpace":
                    break
                continue
            part.replace(done)
            durable.sync_folder(self._folder)
            validator_of(part).unlink(missing_ok=True)
            return done
        raise failure

    def _check_room(self, wanted: Wanted, part: Path) -> None:
        have = part.stat().st_size if part.exists() else 0
        needed = max(0, wanted.size - have) + wanted.room + MARGIN_BYTES
        free = self._free_bytes(self._folder)
        if free < needed:
            raise FetchFailed("NoSpace", f"{needed} bytes are needed, {free} are free")

    def _persist(self, url: str, wanted: Wanted, part: Path, end: float) -> None:
        """One URL, tried until it is whole, is refused, or tries and time are used up."""
        problem = ""
        for turn in range(self._limits.tries):
            pause_s = min(self._limits.backoff_s * 2 ** (turn - 1), 60.0) if turn else 0.0
            if self._pause(min(pause_s, max(0.0, end - time.monotonic()))):
                raise Stopped
            if time.monotonic() >= end:
                raise FetchFailed("DownloadFailed", f"{url}: no time is left ({problem})")
            try:
                self._try(url, wanted, part, end)
                return
            except Passing as error:
                problem = str(error)
            except Refused as error:
                raise FetchFailed("DownloadFailed", f"{url}: {error}") from None
            except OSError as error:
                reason = "NoSpace" if error.errno in durable.NO_SPACE_ERRNOS else "DownloadFailed"
                raise FetchFailed(reason, f"{part.name}: {error.strerror}") from None
        if self._pause(0.0):
            raise Stopped
        raise FetchFailed("DownloadFailed", f"{url}: {problem}")

    def _try(self, url: str, wanted: Wanted, part: Path, end: float) -> None:
        """Take what is missing, then verify all of it."""
        is_whole = part.exists() and part.stat().st_size == wanted.size
        resumed = is_whole or self._transfer(url, wanted, part, end)
        if part.stat().st_size < wanted.size:
            raise Passing(f"ended after {part.stat().st_size} of {wanted.size} bytes")
        with part.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found == wanted.sha256:
            return
        forget(part)
        if resumed:
            raise Passing("the resumed file has another checksum")
        raise FetchFailed("ChecksumMismatch", f"{url}: sha256 is {found}, signed {wanted.sha256}")

    def _transfer(self, url: str, wanted: Wanted, part: Path, end: float) -> bool:
        """Append to `part` what the server sends; True when it went on from an earlier piece."""
        for _ in range(self._limits.redirects + 1):
            parts = split_https(url)
            line = self._line = self._line_to(*authority(parts))
            limits = self._limits
            watchdog = Watchdog(
                line,
                max(0.0, end - time.monotonic()),
                floor_bytes=int(limits.floor_bytes_per_s * limits.floor_window_s),
                window_s=limits.floor_window_s,
            )
            try:
                with watchdog:
                    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
                    location = ask(line, target, wanted, part, watchdog)
            except WireFailed as error:
                raise Passing(watchdog.verdict or str(error)) from None
            finally:
                self._line = None
                line.close()
            if watchdog.verdict:  # a socket that was shut reads like the end of the body
                raise Passing(watchdog.verdict)
            if isinstance(location, bool):
                return location
            url = urljoin(url, location)
        raise Refused("redirects", f"more than {self._limits.redirects}")

    def _line_to(self, host: str, port: int) -> Line:
        """Not connected yet; raises Refused `host`, as it does when it connects."""
        self._hosts.check_name(host, port)
        return Line(
            host,
            port,
            self._pins.get((host, port)),
            least_time=self._least_time(),
            admit=partial(self._hosts.check_address, host, port),
        )


def clear(folder: Path, kept: Sequence[str]) -> None:
    """Remove downloads of packages that nobody wants any more."""
    for path in folder.iterdir():
        if path.name.split(".")[0] not in kept:
            path.unlink(missing_ok=True)
