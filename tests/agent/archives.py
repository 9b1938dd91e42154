"""Makes archives, honest and hostile ones, for the unpacker's tests."""

import gzip
import io
import tarfile
from pathlib import Path


def member(name: str, data: bytes = b"", **fields: object) -> tuple[tarfile.TarInfo, bytes]:
    """A member; `fields` overwrite what TarInfo would hold (type, mode, linkname, size …)."""
    info = tarfile.TarInfo(name)
    info.size = len(data)
    info.mode = 0o644
    for key, value in fields.items():
        setattr(info, key, value)
    return info, data


def folder(name: str) -> tuple[tarfile.TarInfo, bytes]:
    """A folder as a member."""
    return member(name, type=tarfile.DIRTYPE, mode=0o755)


def write_archive(
    path: Path,
    *members: tuple[tarfile.TarInfo, bytes],
    tar_format: int = tarfile.GNU_FORMAT,
) -> Path:
    """A .tar.gz of these members, in this order, unchecked."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tar_format) as archive:
        for info, data in members:
            archive.addfile(info, io.BytesIO(data))
    return write_raw(path, raw.getvalue())


def write_raw(path: Path, content: bytes) -> Path:
    """A .gz of any bytes."""
    path.write_bytes(gzip.compress(content, 6, mtime=0))
    return path
