"""Writes that survive a power cut: each is wholly there or not at all when it returns."""

import contextlib
import os
from pathlib import Path

NO_SPACE_ERRNOS = frozenset({28, 122})
"""ENOSPC and EDQUOT."""


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_file(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Put `data` in the place of whatever `path` holds: temporary file, fsync, rename, fsync."""
    temporary = path.with_name(f".{path.name}.new")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(temporary, flags, mode), "wb") as file:
        file.write(data)
        file.flush()
        os.fchmod(file.fileno(), mode)
        os.fsync(file.fileno())
    temporary.replace(path)
    sync_folder(path.parent)


def point(link: Path, target: str | None) -> None:
    """Make `link` a symbolic link to `target` in one move; None removes it."""
    if target is None:
        link.unlink(missing_ok=True)
    else:
        temporary = link.with_name(f".{link.name}.new")
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()
        temporary.symlink_to(target)
        temporary.replace(link)
    sync_folder(link.parent)


def free_bytes(folder: Path) -> int:
    """What the agent may still write on the disk of `folder`."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize
