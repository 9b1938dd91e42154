"""Unpacks a package so that whatever lies in it stays in its folder; measures one for signing.

Both go through the same checks in the same order, so that what a device would refuse is refused
when it is signed. The limits come from the signed statement, never from the archive. Python's own
`tarfile` filters can be escaped and are missing in Debian 12's 3.11.2.
"""

import hashlib
import os
import shutil
import tarfile
import unicodedata
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from towline.agent.tar_stream import (
    ContentReader,
    Member,
    members,
    open_content,
    stream_limit,
)
from towline.schemas.problems import Refused

SIGNABLE_BYTES = 16 * 2**30
"""No package unpacks to more than this."""
SIGNABLE_FILES = 200_000
_NAME_LIMIT_BYTES = 255
_PATH_LIMIT_BYTES = 1024
_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Measured:
    """What a statement says of a package file."""

    size: int
    """Bytes of the package file."""
    sha256: str
    unpacked_size: int
    """Bytes of all files in it."""
    files: int
    """Members of the archive: files and folders."""
    content_sha256: str
    """Of the uncompressed tar stream."""
    names: tuple[str, ...]
    """Paths of the regular files, in the archive's order."""


def measure(archive: Path) -> Measured:
    """A dry run of `unpack`; raises Refused with the code that a device would give."""
    checks = _Checks(SIGNABLE_BYTES, SIGNABLE_FILES)
    with _content(archive, SIGNABLE_BYTES) as reader:
        names = tuple(
            "/".join(path)
            for member in members(reader)
            if (path := checks.admit(member)) and member.kind != tarfile.DIRTYPE
        )
    if reader.count > stream_limit(checks.unpacked, checks.files):
        raise Refused("expansion-cap", "its headers are larger than a device would read")
    with archive.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Measured(
        archive.stat().st_size, digest, checks.unpacked, checks.files, reader.hexdigest(), names
    )


def unpack(archive: Path, destination: Path, *, unpacked_limit: int, files_limit: int) -> None:
    """Unpack into the new folder `destination`, everything durable when it returns.

    Raises Refused with the reason, OSError when the disk fails; the folder is then gone.
    """
    destination.mkdir()
    try:
        destination.chmod(0o755)  # whatever the umask
        checks = _Checks(unpacked_limit, files_limit)
        with _content(archive, stream_limit(unpacked_limit, files_limit)) as reader:
            for member in members(reader):
                if path := checks.admit(member):
                    _write(destination, path, member)
        _sync_folders(destination)
    except BaseException:
        shutil.rmtree(destination, ignore_errors=True)
        raise


def content_of(archive: Path, name: str) -> bytes | None:
    """One file at the top of a package that `measure` admits; None when there is none."""
    with _content(archive, SIGNABLE_BYTES) as reader:
        for member in members(reader):
            if _path(member.name) == (name,):
                return b"".join(member.content)
    return None


@contextmanager
def _content(archive: Path, limit: int) -> Iterator[ContentReader]:
    compressed, reader = open_content(archive, limit)
    with compressed:
        yield reader


@dataclass(slots=True)
class _Checks:
    """What was seen of an archive so far, and whether the next member may follow."""

    unpacked_limit: int
    files_limit: int
    unpacked: int = 0
    files: int = 0
    spelling: dict[str, str] = field(default_factory=dict)
    """Every path and its parents, folded -> as first written."""
    folders: set[str] = field(default_factory=set)
    """Folders, also those that only a longer path implies."""
    explicit: set[str] = field(default_factory=set)
    regular: set[str] = field(default_factory=set)

    def admit(self, member: Member) -> tuple[str, ...]:
        """The member's path, empty for the archive's own root; raises Refused."""
        self.files += 1
        if self.files > self.files_limit:
            raise Refused("too-many-files", f"more than {self.files_limit}")
        if member.kind not in (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.DIRTYPE):
            raise Refused("member-type", _shown(member.name))
        self.unpacked += member.size
        if self.unpacked > self.unpacked_limit:
            raise Refused("expansion-cap", f"more than {self.unpacked_limit} bytes")
        path = _path(member.name)
        if path:
            self._place(path, is_folder=member.kind == tarfile.DIRTYPE)
        elif member.kind != tarfile.DIRTYPE:
            raise Refused("unsafe-name", _shown(member.name))
        return path

    def _place(self, path: tuple[str, ...], *, is_folder: bool) -> None:
        parents = ["/".join(path[:depth]) for depth in range(1, len(path))]
        name = "/".join(path)
        for each in (*parents, name):
            folded = unicodedata.normalize("NFC", each).casefold()
            if self.spelling.setdefault(folded, each) != each:
                raise Refused("name-clash", _shown(each))
        is_taken = name in self.explicit or (not is_folder and name in self.folders)
        if is_taken or not self.regular.isdisjoint(parents):
            raise Refused("duplicate-name", _shown(name))
        self.explicit.add(name)
        self.folders.update(parents)
        (self.folders if is_folder else self.regular).add(name)


def _path(name: str) -> tuple[str, ...]:
    """A member's name as components; raises Refused `unsafe-name` when it could lead astray."""
    plain = name.removeprefix("./").removesuffix("/")
    if plain in ("", ".") and name in (".", "./"):
        return ()
    parts = tuple(plain.split("/"))
    try:
        sizes = [len(part.encode()) for part in parts]
    except UnicodeEncodeError:
        raise Refused("unsafe-name", _shown(name)) from None
    if any(part in ("", ".", "..") for part in parts) or not plain.isprintable():
        raise Refused("unsafe-name", _shown(name))
    if max(sizes) > _NAME_LIMIT_BYTES or sum(sizes) + len(sizes) > _PATH_LIMIT_BYTES:
        raise Refused("unsafe-name", "too long: " + _shown(name))
    return parts


def _shown(name: str) -> str:
    return repr(name[:80])


def _write(destination: Path, path: tuple[str, ...], member: Member) -> None:
    """Create one file or folder, each component opened without following links."""
    is_folder = member.kind == tarfile.DIRTYPE
    with ExitStack() as opened:
        folder = _opened(opened, os.open(destination, _FOLDER_FLAGS))
        for part in path if is_folder else path[:-1]:
            folder = _opened(opened, _enter(folder, part))
        if not is_folder:
            _write_file(folder, path[-1], member)


def _opened(stack: ExitStack, descriptor: int) -> int:
    stack.callback(os.close, descriptor)
    return descriptor


def _enter(folder: int, name: str) -> int:
    """Open the folder `name` in `folder`, made if need be."""
    try:
        os.mkdir(name, 0o755, dir_fd=folder)
    except FileExistsError:
        return os.open(name, _FOLDER_FLAGS, dir_fd=folder)
    inner = os.open(name, _FOLDER_FLAGS, dir_fd=folder)
    os.fchmod(inner, 0o755)
    return inner


def _write_file(folder: int, name: str, member: Member) -> None:
    with os.fdopen(os.open(name, _FILE_FLAGS, 0o600, dir_fd=folder), "wb") as file:
        for chunk in member.content:
            file.write(chunk)
        file.flush()
        os.fchmod(file.fileno(), 0o755 if member.mode & 0o100 else 0o644)
        os.fsync(file.fileno())


def _sync_folders(destination: Path) -> None:
    for folder, _, _ in os.walk(destination, topdown=False):
        descriptor = os.open(folder, _FOLDER_FLAGS)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
