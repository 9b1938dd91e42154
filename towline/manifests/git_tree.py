"""Many files of one commit in two runs of git: a listing, and their contents by object id.

Contents are read from objects, never from a working tree, so no filter, line ending or
symbolic link of that tree can change them. Sizes are known before anything is read, and a listing
ends where it is too long: a few small trees that hold each other make thousands of millions of
files.
"""

import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass

from towline.manifests.git_problems import Damaged
from towline.manifests.git_run import Git, chunks
from towline.schemas.problems import Problem

MAX_FILE_BYTES = 256 * 1024
MAX_FILES = 50_000
MAX_TOTAL_BYTES = 256 * 1024 * 1024
MAX_LISTED = 1_000_000
"""Files of a tree, whoever they are for."""
_LONGEST_ENTRY_BYTES = 64 * 1024

_ENTRY = re.compile(rb"(\d{6}) (\w+) ([0-9a-f]+) +(\d+|-)\t(.*)", re.DOTALL)
_REGULAR = frozenset({b"100644", b"100755", b"100664"})


@dataclass(frozen=True, slots=True)
class Blob:
    """A regular file of a tree."""

    path: str
    oid: str
    size: int
    """Bytes."""


def wanted_blobs(git: Git, tree: str, wants: Callable[[str], bool]) -> list[Blob]:
    """The regular files below a tree whose path is wanted.

    Raises GitFailed, or Problem on a lost file and on too much.
    """
    found: list[Blob] = []
    total = 0
    for blob in _listing(git, tree):
        if wants(blob.path):
            found.append(blob)
            total += min(blob.size, MAX_FILE_BYTES + 1)
            if len(found) > MAX_FILES or total > MAX_TOTAL_BYTES:
                raise _too_much(f"more than {MAX_FILES} files or {MAX_TOTAL_BYTES} bytes for it")
    return found


def _listing(git: Git, tree: str) -> Iterator[Blob]:
    """Every regular file below a tree, while git finds them."""
    with closing(chunks(git, "ls-tree", "-r", "-l", "-z", "--full-tree", tree)) as listed:
        for number, entry in enumerate(_entries(listed)):
            if number == MAX_LISTED:
                raise _too_much(f"more than {MAX_LISTED} files in all")
            found = _ENTRY.fullmatch(entry)
            if found is None:
                # Git writes BAD for the size of a lost object. A lost file is no removed one.
                raise _lost(entry)
            if found[1] in _REGULAR:
                path = found[5].decode("utf-8", "backslashreplace")
                yield Blob(path, found[3].decode(), int(found[4]))


def _entries(listed: Iterable[bytes]) -> Iterator[bytes]:
    begun = b""
    for chunk in listed:
        *whole, begun = (begun + chunk).split(b"\0")
        if len(begun) > _LONGEST_ENTRY_BYTES:
            raise _too_much("a path of more than 64 KiB")
        yield from whole


def blob_contents(git: Git, blobs: Sequence[Blob]) -> dict[str, bytes]:
    """Path -> content, cut behind MAX_FILE_BYTES; raises GitFailed, or Problem on a lost one."""
    small = [blob for blob in blobs if blob.size <= MAX_FILE_BYTES]
    contents = _batch(git, sorted({blob.oid for blob in small}))
    found = {blob.path: contents[blob.oid] for blob in small}
    large = [blob for blob in blobs if blob.size > MAX_FILE_BYTES]
    return found | {blob.path: _beginning(git, blob.oid) for blob in large}


def _too_much(what: str) -> Problem:
    return Problem(
        f"the repository holds too much for Towline: {what}",
        remedy="remove statements of releases that are no longer used, or split the fleet",
    )


def _batch(git: Git, oids: Sequence[str]) -> dict[str, bytes]:
    """Contents by object id, in one run of git."""
    if not oids:
        return {}
    with tempfile.TemporaryFile() as wanted:
        wanted.write("".join(f"{oid}\n" for oid in oids).encode())
        wanted.seek(0)
        output = b"".join(chunks(git, "cat-file", "--batch", given=wanted))
    return dict(_answers(output, len(oids)))


def _answers(output: bytes, count: int) -> Iterator[tuple[str, bytes]]:
    """Each answer is a line `<oid> blob <size>`, the content and a line feed."""
    at = 0
    for _ in range(count):
        end = output.index(b"\n", at)
        header = output[at:end].split()
        if len(header) != 3:
            raise _lost(output[at:end])
        begin, size = end + 1, int(header[2])
        yield header[0].decode(), output[begin : begin + size]
        at = begin + size + 1


def _lost(said: bytes) -> Problem:
    return Damaged(
        f"the repository lacks an object: {said.decode('utf-8', 'replace')}",
        remedy="run `git fsck` in it, and fetch or clone it again",
    )


def _beginning(git: Git, oid: str) -> bytes:
    """The first bytes of a large file, one more than a reader accepts."""
    beginning = b""
    for chunk in chunks(git, "cat-file", "blob", oid):
        beginning += chunk
        if len(beginning) > MAX_FILE_BYTES:
            break
    return beginning[: MAX_FILE_BYTES + 1]
