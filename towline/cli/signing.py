"""Statements as they lie in a fleet repository: made, found and compared with package files.

Joins the agent's unpacker, which measures, with the trust rules of `schemas`. Writes no file.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

from towline.agent.unpack import Measured, measure
from towline.cli.package import check_format, check_saved_paths
from towline.schemas import envelope, statement
from towline.schemas.identifiers import is_id
from towline.schemas.keys import Signer
from towline.schemas.problems import Place, Problem, Refused
from towline.schemas.root import Root
from towline.schemas.statement import Statement, statement_path

_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+~-]{0,99}")
"""As manifests accept it; it becomes a folder's name."""


@dataclass(frozen=True, slots=True)
class Release:
    """What the release engineer says of a package file; the rest is measured."""

    component: str
    version: str
    package_format: str = "script"
    device_types: tuple[str, ...] = ()
    rollback_index: int = 0


@dataclass(frozen=True, slots=True)
class Signed:
    """A statement and where it belongs."""

    path: Path
    statement: Statement
    data: bytes
    """The file's content."""
    is_new: bool
    """False when the very same thing had been signed before."""


def sign(
    package: Path,
    release: Release,
    fleet: Path,
    trusted: Root,
    keys: Sequence[Signer],
    now: int,
) -> Signed:
    """The statement on a package file, not yet written; raises Problem.

    What was signed before stays as it is; another content under its path is refused.
    """
    check_release(release)
    word = _describe(package.name, measured(package), release, trusted, now)
    check_saved_paths(package, package)
    path = fleet / statement_path(release.component, release.version, word.file_name)
    if path.exists():
        _refuse_reuse(path, word, trusted)
        return Signed(path, word, path.read_bytes(), is_new=False)
    return Signed(path, word, word.sign(*keys).to_bytes(), is_new=True)


def check_release(release: Release) -> None:
    """Raises Problem when a device could not run under these names."""
    if not is_id(release.component):
        raise Problem(
            f"the component {release.component!r} is no id: small letters, digits, dots, dashes"
            " and underscores, at most 63"
        )
    if _VERSION.fullmatch(release.version) is None:
        raise Problem(
            f"{release.version!r} is no version",
            remedy="write up to 100 letters, digits and . _ + ~ -, a letter or digit first",
        )
    check_format(release.package_format)
    if release.rollback_index < 0:
        raise Problem("the rollback index must not be negative")


def measured(package: Path) -> Measured:
    """What the device's unpacker finds in a package file; raises Problem when it would refuse."""
    try:
        return measure(package)
    except Refused as refusal:
        raise Problem(
            f"a device would refuse this package: {refusal}",
            remedy="build it with: towline package build FOLDER -o FILE.tar.gz",
            place=Place(str(package)),
        ) from None


def find(fleet: Path, file_name: str) -> list[Path]:
    """Every statement on a package file of that name, whatever its component and version."""
    return sorted(
        path for path in fleet.glob("releases/*/*/*.json") if path.name == f"{file_name}.json"
    )


def read(path: Path, trusted: Root) -> Statement:
    """A statement that the release keys have signed; raises Problem when they have not."""
    try:
        return statement.verify(envelope.parse(path.read_bytes()), trusted.release)
    except Refused as refusal:
        raise Problem(
            f"it is not signed by the release keys of root {trusted.version}: {refusal}",
            remedy="remove it and sign the package again",
            place=Place(str(path)),
        ) from None


def differences(package: Path, word: Statement) -> list[str]:
    """What of a package file is not as it was signed, one line each; empty when all is."""
    with package.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    size = package.stat().st_size
    found: list[tuple[str, object, object]] = [
        ("size", word.size, size),
        ("sha256", word.sha256, sha256),
    ]
    if sha256 == word.sha256:
        inside = measured(package)
        found += [
            ("unpackedSize", word.unpacked_size, inside.unpacked_size),
            ("files", word.files, inside.files),
            ("contentSha256", word.content_sha256, inside.content_sha256),
        ]
    return [f"{name}: signed {was}, found {now}" for name, was, now in found if was != now]


def _describe(
    file_name: str, inside: Measured, release: Release, trusted: Root, now: int
) -> Statement:
    return Statement(
        organization=trusted.organization,
        component=release.component,
        version=release.version,
        file_name=file_name,
        sha256=inside.sha256,
        size=inside.size,
        unpacked_size=inside.unpacked_size,
        files=inside.files,
        content_sha256=inside.content_sha256,
        built_at=now,
        format=release.package_format,
        device_types=release.device_types,
        rollback_index=release.rollback_index,
    )


def _refuse_reuse(path: Path, word: Statement, trusted: Root) -> None:
    """A version means one thing for ever: devices remember what failed by its checksum."""
    before = read(path, trusted)
    if replace(before, built_at=word.built_at) == word:
        return
    names = [
        field.name.replace("_", " ")
        for field in fields(Statement)
        if field.name != "built_at" and getattr(before, field.name) != getattr(word, field.name)
    ]
    raise Problem(
        f"{word.component} {word.version} was signed before with another {', '.join(names)};"
        " a version is never used twice",
        remedy=f"give it a version after {word.version}",
        place=Place(str(path)),
    )
