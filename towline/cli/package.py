"""`towline package build`: a folder becomes one file, byte for byte the same each time.

What a device could not install is refused here, with file, reason and remedy. Same bytes need the
same zlib: another machine may compress differently, so a package is built once and then kept.
"""

import gzip
import os
import shlex
import stat
import tarfile
import tempfile
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, BinaryIO

import typer

from towline.agent import saved
from towline.agent.layout import DEFAULT_ROOT
from towline.agent.unpack import Measured, content_of, measure
from towline.cli.printing import give, tell
from towline.schemas.problems import Place, Problem, Refused
from towline.schemas.statement import FORMATS

INSTALL_SCRIPT = "install.sh"
_LEFT_OUT = ".git"
_HEAD_BYTES = 1024 * 1024

app = typer.Typer(no_args_is_help=True, help="Build packages.", add_completion=False)
app.callback()(lambda: None)  # keeps `build` a command of a group


@app.command("build")
def build_command(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Holds an install.sh.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE.tar.gz")],
    package_format: Annotated[str, typer.Option("--format")] = "script",
) -> None:
    """Build a package: the same folder gives the same bytes, whenever and by whomever.

    towline package build hello -o hello-1.0.0.tar.gz
    """
    tell(f"packing {folder}")
    measured = build(folder, output, package_format)
    tell(f"{len(measured.names)} files, {measured.size} bytes, sha256:{measured.sha256}")
    give(str(output))


def build(folder: Path, target: Path, package_format: str = "script") -> Measured:
    """Write the package of `folder` to `target`, in one step; raises Problem, writing nothing."""
    paths = _contents(folder, package_format)
    if target.resolve().is_relative_to(folder.resolve()):
        raise Problem(
            f"{target} would become part of the package itself", remedy=f"write it beside {folder}"
        )
    if not target.parent.is_dir():
        raise Problem(f"there is no folder {target.parent}", remedy=f"mkdir -p {target.parent}")
    descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), 0o644)
            _write(file, folder, paths)
        measured = _measured(Path(name), folder)
        check_saved_paths(Path(name), folder)
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return measured


def check_format(package_format: str) -> None:
    """Raises Problem when no device could install this format."""
    if package_format not in FORMATS:
        raise Problem(
            f"the format {package_format} is not supported yet",
            remedy=f"use one of: {', '.join(FORMATS)}",
        )


def check_saved_paths(package: Path, place: Path) -> None:
    """Raises Problem at `place` when no device could save what the package lists to be saved."""
    data = content_of(package, saved.LIST_NAME)
    try:
        saved.paths_in(data or b"", DEFAULT_ROOT)
    except Problem as problem:
        raise Problem(problem.what, remedy=problem.remedy, place=Place(str(place))) from None


def _contents(folder: Path, package_format: str) -> list[str]:
    """Every path that goes in, relative and in order; raises Problem for what must not."""
    check_format(package_format)
    if not folder.is_dir():
        raise Problem(f"{folder} is no folder", remedy="name the folder that holds install.sh")
    paths = sorted(_walk(folder, ""), key=os.fsencode)
    _refuse_clashes(folder, paths)
    if INSTALL_SCRIPT not in paths or not (folder / INSTALL_SCRIPT).is_file():
        raise Problem(
            f"it has no {INSTALL_SCRIPT}, and a package of format script is installed by it",
            remedy=f"write {folder / INSTALL_SCRIPT}; it begins with #!/bin/sh, may run twice and"
            " exits 0 when the version is installed",
            place=Place(str(folder)),
        )
    for path in paths:
        _refuse_carriage_returns(folder / path)
    return paths


def _walk(folder: Path, prefix: str) -> Iterator[str]:
    with os.scandir(folder / prefix) as entries:
        for entry in entries:
            path = f"{prefix}{entry.name}"
            if path == _LEFT_OUT:
                tell(f"left out: {folder / path}")
                continue
            if not path.isprintable():
                raise Problem(
                    f"the name {path!r} has characters that cannot be printed or are not UTF-8",
                    remedy="rename it",
                    place=Place(str(folder)),
                )
            if entry.is_dir(follow_symlinks=False):
                yield path
                yield from _walk(folder, f"{path}/")
            elif entry.is_file(follow_symlinks=False):
                yield path
            else:
                raise _odd(Path(entry.path))


def _odd(path: Path) -> Problem:
    if path.is_symlink():
        return Problem(
            f"it is a symbolic link to {path.readlink()}; a package holds files and folders only",
            remedy="put the file itself there, and let install.sh make the link",
            place=Place(str(path)),
        )
    return Problem(
        "it is neither a file nor a folder; a package holds nothing else",
        remedy="remove it, and let install.sh make what the device needs",
        place=Place(str(path)),
    )


def _refuse_clashes(folder: Path, paths: list[str]) -> None:
    spelling: dict[str, str] = {}
    for path in paths:
        other = spelling.setdefault(unicodedata.normalize("NFC", path).casefold(), path)
        if other != path:
            raise Problem(
                f"its name differs from {other} only in case or accents, and not every disk can"
                " tell the two apart",
                remedy="rename one of them",
                place=Place(str(folder / path)),
            )


def _refuse_carriage_returns(path: Path) -> None:
    if path.is_dir():
        return
    head = _head(path, _HEAD_BYTES)
    # A self-extracting archive is a script too, whose binary part may hold any bytes.
    if head.startswith(b"#!") and b"\0" not in head and b"\r\n" in head:
        raise Problem(
            "it begins with #! and its lines end in CR LF, so a device would not find its"
            " interpreter",
            remedy=f"sed -i 's/\\r$//' {shlex.quote(str(path))}",
            place=Place(str(path), head.count(b"\n", 0, head.index(b"\r\n")) + 1),
        )


def _head(path: Path, size: int) -> bytes:
    with path.open("rb") as file:
        return file.read(size)


def _write(file: BinaryIO, folder: Path, paths: list[str]) -> None:
    with (
        gzip.GzipFile(filename="", mode="wb", compresslevel=9, fileobj=file, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w|", format=tarfile.PAX_FORMAT) as archive,
    ):
        for path in paths:
            _add(archive, folder / path, path)


def _add(archive: tarfile.TarFile, source: Path, name: str) -> None:
    """Name, kind, content and whether it is executable; nothing else of a file counts."""
    member = tarfile.TarInfo(name)
    if source.is_dir():
        member.type, member.mode = tarfile.DIRTYPE, 0o755
        archive.addfile(member)
        return
    with source.open("rb") as content:
        found = os.fstat(content.fileno())
        # A script is executable even where a disk or an editor lost the bit.
        is_executable = bool(found.st_mode & stat.S_IXUSR) or content.peek(2)[:2] == b"#!"
        member.size, member.mode = found.st_size, 0o755 if is_executable else 0o644
        archive.addfile(member, content)


def _measured(package: Path, folder: Path) -> Measured:
    try:
        return measure(package)
    except Refused as refusal:
        raise Problem(
            f"a device would refuse a package of this folder: {refusal}", place=Place(str(folder))
        ) from None
