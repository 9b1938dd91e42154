"""Reads a .tar.gz once, from front to back, in bounded memory.

It knows tar's headers (ustar, PAX and GNU long names) and counts what comes out of the decompressor
before anything parses it. What may lie in a package is left to `unpack`. `tarfile` is used for one
header block at a time only: as a reader it ends silently at a broken header and holds extended
headers of any size.
"""

import gzip
import hashlib
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from towline.schemas.problems import Refused

BLOCK_BYTES = 512
CHUNK_BYTES = 64 * 1024
EXTENDED_HEADER_LIMIT_BYTES = 16 * 1024
_MEMBER_OVERHEAD_BYTES = 8 * 1024
_END_BYTES = 64 * 1024
_NAMING = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME)


def stream_limit(unpacked_bytes: int, files: int) -> int:
    """How long the uncompressed stream of such a package may be, headers and padding included."""
    return unpacked_bytes + files * _MEMBER_OVERHEAD_BYTES + _END_BYTES


class ContentReader:
    """The uncompressed stream: counted, hashed and cut at a limit.

    Raises Refused `expansion-cap` beyond `limit` bytes, `not-an-archive` for what is no gzip.
    """

    def __init__(self, compressed: BinaryIO, limit: int) -> None:
        self._source = gzip.GzipFile(fileobj=compressed, mode="rb")
        self._limit = limit
        self._digest = hashlib.sha256()
        self.count = 0

    def read(self, size: int) -> bytes:
        """At most `size` bytes; fewer only at the end."""
        try:
            data = self._source.read(size)
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise Refused("not-an-archive", str(error)[:120]) from None
        self.count += len(data)
        if self.count > self._limit:
            raise Refused("expansion-cap", f"more than {self._limit} bytes come out of it")
        self._digest.update(data)
        return data

    def exactly(self, size: int) -> bytes:
        """`size` bytes; raises Refused `truncated`."""
        data = self.read(size)
        if len(data) != size:
            raise Refused("truncated")
        return data

    def hexdigest(self) -> str:
        """SHA-256 of what was read so far."""
        return self._digest.hexdigest()


@dataclass(frozen=True, slots=True)
class Member:
    """One member of the archive; `name` is as it stands there."""

    name: str
    kind: bytes
    """Tar's type flag."""
    mode: int
    size: int
    content: Iterator[bytes]
    """The file's bytes; must be taken before the next member."""


def members(reader: ContentReader) -> Iterator[Member]:
    """Each member in order; raises Refused when the archive is not whole and plain.

    Content that was not taken is skipped. Behind the end there may be zeros only.
    """
    name, size = "", None
    while (header := _header(reader)) is not None:
        if header.type in _NAMING:
            found_name, found_size = _extended(header, reader)
            name, size = found_name or name, found_size if found_size is not None else size
            continue
        length = _length(header, size)
        content = _content(reader, length)
        yield Member(name or header.name, header.type, header.mode, length, content)
        for _ in content:
            pass
        name, size = "", None
    if name or size is not None:
        raise Refused("truncated", "an extended header without its member")


def _header(reader: ContentReader) -> tarfile.TarInfo | None:
    block = reader.exactly(BLOCK_BYTES)
    try:
        return tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        if any(block):
            raise Refused("bad-header") from None
    while rest := reader.read(CHUNK_BYTES):
        if any(rest):
            raise Refused("trailing-data")
    return None


def _length(header: tarfile.TarInfo, extended: int | None) -> int:
    length = header.size if extended is None else extended
    if length < 0 or (header.type == tarfile.DIRTYPE and length):
        raise Refused("bad-header", "size")
    return length


def _content(reader: ContentReader, length: int) -> Iterator[bytes]:
    left = length
    while left:
        chunk = reader.exactly(min(left, CHUNK_BYTES))
        left -= len(chunk)
        yield chunk
    reader.exactly(-length % BLOCK_BYTES)


def _extended(header: tarfile.TarInfo, reader: ContentReader) -> tuple[str, int | None]:
    """The name and the size that an extended header gives to the next member."""
    if not 0 < header.size <= EXTENDED_HEADER_LIMIT_BYTES:
        raise Refused("bad-header", "extended header")
    data = b"".join(_content(reader, header.size))
    if header.type == tarfile.GNUTYPE_LONGNAME:
        return data.rstrip(b"\0").decode("utf-8", "surrogateescape"), None
    records = dict(_pax_records(data))
    if any(key.startswith("GNU.sparse") for key in records):
        raise Refused("member-type", "sparse file")
    if header.type == tarfile.XGLTYPE and records.keys() & {"path", "size", "linkpath"}:
        raise Refused("bad-header", "global path or size")
    size = records.get("size")
    if size is not None and not (size.isascii() and size.isdigit() and len(size) < 20):
        raise Refused("bad-header", "size")
    return records.get("path", ""), None if size is None else int(size)


def _pax_records(data: bytes) -> Iterator[tuple[str, str]]:
    """POSIX.1-2001 extended header records: `LENGTH KEY=VALUE\\n`."""
    while data:
        digits = data.partition(b" ")[0]
        if not digits.isdigit() or len(digits) > 6:
            raise Refused("bad-header", "extended header")
        length = int(digits)
        record = data[len(digits) + 1 : length]
        key, equals, value = record[:-1].partition(b"=")
        if length > len(data) or not equals or record[-1:] != b"\n":
            raise Refused("bad-header", "extended header")
        yield key.decode("utf-8", "replace"), value.decode("utf-8", "surrogateescape")
        data = data[length:]


def open_content(archive: Path, limit: int) -> tuple[BinaryIO, ContentReader]:
    """The file, to be closed by the caller, and the reader over it."""
    compressed = archive.open("rb")
    return compressed, ContentReader(compressed, limit)
