"""Many files of one commit in two runs of git: a listing, and their contents by object id.

Contents are read from objects, never from a working tree, so no filter, line ending or
symbolic link of that tree can change them. Sizes are known before anything is read.
"""

import re
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from git import Git

from towline.schemas.problems import Problem

MAX_FILE_BYTES = 256 * 1024
MAX_FILES = 50_000
MAX_TOTAL_BYTES = 256 * 1024 * 1024

_ENTRY = re.compile(rb"(\d{6}) (\w+) ([0-9a-f]+) +(\d+|-)\t(.*)", re.DOTALL)
_REGULAR = frozenset({b"100644", b"100755", b"100664"})


@dataclass(frozen=True, slots=True)
class Blob:
    """A regular file of a tree."""

    path: str
    oid: str
    size: int
    """Bytes."""


def listing(git: Git, tree: str) -> Iterator[Blob]:
    """Every regular file below a tree; raises GitError, or Problem on a lost one."""
    output = git.execute(
        ["git", "ls-tree", "-r", "-l", "-z", "--full-tree", tree], stdout_as_string=False
    )
    for entry in filter(None, output.split(b"\0")):
        found = _ENTRY.fullmatch(entry)
        if found is None:
            # Git writes BAD for the size of a lost object. A lost file is no removed one.
            raise _lost(entry)
        if found[1] in _REGULAR:
            path = found[5].decode("utf-8", "backslashreplace")
            yield Blob(path, found[3].decode(), int(found[4]))


def blob_contents(git: Git, blobs: Sequence[Blob]) -> dict[str, bytes]:
    """Path -> content, cut behind MAX_FILE_BYTES; raises GitError, or Problem on too much."""
    _refuse_too_much(blobs)
    small = [blob for blob in blobs if blob.size <= MAX_FILE_BYTES]
    contents = _batch(git, sorted({blob.oid for blob in small}))
    found = {blob.path: contents[blob.oid] for blob in small}
    large = [blob for blob in blobs if blob.size > MAX_FILE_BYTES]
    return found | {blob.path: _beginning(git, blob.oid) for blob in large}


def _refuse_too_much(blobs: Sequence[Blob]) -> None:
    total = sum(min(blob.size, MAX_FILE_BYTES + 1) for blob in blobs)
    if len(blobs) > MAX_FILES or total > MAX_TOTAL_BYTES:
        raise Problem(
            f"the repository holds {len(blobs)} files with {total} bytes for Towline, "
            f"more than {MAX_FILES} files or {MAX_TOTAL_BYTES} bytes",
            remedy="remove statements of releases that are no longer used, or split the fleet",
        )


def _batch(git: Git, oids: Sequence[str]) -> dict[str, bytes]:
    """Contents by object id, in one run of git."""
    if not oids:
        return {}
    with tempfile.TemporaryFile() as wanted:
        wanted.write("".join(f"{oid}\n" for oid in oids).encode())
        wanted.seek(0)
        output = git.execute(
            ["git", "cat-file", "--batch"],
            istream=wanted,
            stdout_as_string=False,
            strip_newline_in_stdout=False,
        )
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
    return Problem(
        f"the repository lacks an object: {said.decode('utf-8', 'replace')}",
        remedy="run `git fsck` in it, and fetch or clone it again",
    )


def _beginning(git: Git, oid: str) -> bytes:
    """The first bytes of a large file, one more than a reader accepts."""
    process = git.execute(["git", "cat-file", "blob", oid], as_process=True)
    stream = process.proc.stdout if process.proc else None
    if stream is None:
        return b""
    with stream:
        beginning = bytes(stream.read(MAX_FILE_BYTES + 1))
    # Dropping the process ends it: the rest of the file is never read.
    del process
    return beginning
