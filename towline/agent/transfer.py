"""One request of a download: what is asked for, and what of the answer is believed.

A piece is kept as `<sha256>.part` with the entity tag it came with, and only added to by a server
that vouches for the same file; nobody trusts the result before the whole of it was hashed.
"""

import http.client
import os
from dataclasses import dataclass
from pathlib import Path

from towline.agent.wire import WIRE_ERRORS, Line, Watchdog
from towline.schemas.problems import Refused

CHUNK_BYTES = 64 * 1024
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_PASSING = frozenset({408, 416, 425, 429})
"""Client errors that a later try may not meet."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """The file as it was signed, and where it may be had."""

    urls: tuple[str, ...]
    size: int
    sha256: str
    room: int = 0
    """Further bytes that must be free: what comes out of it."""


class FetchFailed(Exception):
    """The file could not be had; `reason` is the word to report, nothing was changed."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Passing(Exception):
    """This try failed; another may not."""


class WireFailed(Exception):
    """The connection failed, as opposed to the disk."""


def ask(line: Line, target: str, wanted: Wanted, part: Path, watchdog: Watchdog) -> str | bool:
    """One request: where it redirects to, or whether it went on from an earlier piece.

    Raises Passing, WireFailed, FetchFailed or Refused.
    """
    have = part.stat().st_size if part.exists() else 0
    headers = {"Accept-Encoding": "identity", "User-Agent": "towline-agent"}
    validator = _validator(part)
    if 0 < have < wanted.size and validator:
        headers |= {"Range": f"bytes={have}-", "If-Range": validator}
    try:
        line.request("GET", target, headers=headers)
        response = line.getresponse()
    except WIRE_ERRORS as error:
        raise WireFailed(error) from None
    if response.status in _REDIRECTS:
        return response.getheader("Location") or ""
    if response.status == 416:
        forget(part)
    offset = _begin(response, wanted, have if "Range" in headers else 0)
    if offset == 0:
        validator_of(part).write_text(response.getheader("ETag") or "", "utf-8")
    _receive(response, part, offset, wanted.size, watchdog)
    return offset > 0


def _begin(response: http.client.HTTPResponse, wanted: Wanted, have: int) -> int:
    """At which byte of the file this answer begins; raises when it is not our file."""
    if response.status >= 500 or response.status in _PASSING:
        raise Passing(f"the server answers {response.status}")
    if response.status not in (200, 206):
        raise FetchFailed("DownloadFailed", f"the server answers {response.status}")
    coding = response.getheader("Content-Encoding", "identity")
    if coding.lower() != "identity":
        raise Refused("content-coding", coding[:40])
    offset = have if response.status == 206 else 0
    expected = f"bytes {offset}-{wanted.size - 1}/{wanted.size}"
    if response.status == 206 and response.getheader("Content-Range") != expected:
        raise Refused("content-range", str(response.getheader("Content-Range"))[:60])
    length = response.getheader("Content-Length")
    if length is not None and length != str(wanted.size - offset):
        message = f"the file served has {length[:20]} bytes, signed are {wanted.size - offset}"
        raise FetchFailed("ChecksumMismatch", message)
    return offset


def _receive(
    response: http.client.HTTPResponse, part: Path, offset: int, size: int, watchdog: Watchdog
) -> None:
    """Write the body at `offset`, at most one byte more than `size`."""
    with part.open("r+b" if offset else "wb") as file:
        file.seek(offset)
        file.truncate()
        while True:
            try:
                chunk = response.read1(CHUNK_BYTES)
            except WIRE_ERRORS as error:
                raise WireFailed(error) from None
            if not chunk:
                break
            watchdog.received += len(chunk)
            offset += len(chunk)
            if offset > size:
                file.close()
                forget(part)
                raise FetchFailed("ChecksumMismatch", f"more than the signed {size} bytes came")
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())


def validator_of(part: Path) -> Path:
    """Where the entity tag of a piece is kept."""
    return part.with_suffix(".etag")


def _validator(part: Path) -> str:
    """A strong entity tag of the piece at hand (RFC 9110: If-Range takes no weak one)."""
    try:
        text = validator_of(part).read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""
    return text if text.startswith('"') and text.isascii() and text.isprintable() else ""


def forget(part: Path) -> None:
    """Remove a piece and its tag."""
    part.unlink(missing_ok=True)
    validator_of(part).unlink(missing_ok=True)
