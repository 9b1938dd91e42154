"""`towline release inspect`: what a package file or a statement is, believed or not."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from towline.agent import saved
from towline.cli import signing
from towline.cli.output import API_VERSION, Format, show_document
from towline.cli.printing import give
from towline.cli.roots import Chain, find_chain, short
from towline.cli.settings import Settings, load
from towline.schemas import envelope, statement
from towline.schemas.envelope import Envelope
from towline.schemas.problems import Place, Problem, Refused

_NAMES_SHOWN = 20


def inspect_command(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A package or a statement.")],
    repository: Annotated[
        Path | None, typer.Option("--repo", metavar="DIR", help="The fleet repository.")
    ] = None,
    output: Annotated[Format, typer.Option("-o", "--output", help="table or json")] = Format.TABLE,
) -> None:
    """Show what is in a package as a device measures it, or what a statement says and who vouches.

    towline release inspect hello-1.0.0.tar.gz
    """
    if not file.is_file():
        raise Problem(f"there is no file {file}")
    settings = load(repository)
    is_statement = file.suffix == ".json"
    found = _statement(file, settings) if is_statement else _package(file, settings)
    if output is not Format.TABLE:
        show_document({"apiVersion": API_VERSION} | found, output)
        return
    for name, value in found.items():
        if isinstance(value, list):
            shown = value[:_NAMES_SHOWN]
            more = [f"and {len(value) - len(shown)} more"] * (len(value) > len(shown))
            give(f"{name:<15} {f'{chr(10)}{chr(32) * 16}'.join([*shown, *more]) or '-'}")
        else:
            give(f"{name:<15} {value}")


def _package(file: Path, settings: Settings) -> dict[str, Any]:
    inside = signing.measured(file)
    found: dict[str, Any] = {
        "kind": "Package",
        "name": file.name,
        "sha256": inside.sha256,
        "size": inside.size,
        "unpackedSize": inside.unpacked_size,
        "files": inside.files,
        "contentSha256": inside.content_sha256,
        "names": list(inside.names),
        "installScript": "install.sh" in inside.names,
        "healthScript": "health.sh" in inside.names,
        "rollbackScript": "rollback.sh" in inside.names,
        "savesPaths": saved.LIST_NAME in inside.names,
    }
    found["statements"] = [
        f"{path}: {_vouching(_sealed(path), settings)}"
        for path in signing.find(settings.fleet, file.name)
    ]
    return found


def _statement(file: Path, settings: Settings) -> dict[str, Any]:
    sealed = _sealed(file)
    try:
        words = json.loads(sealed.payload)
        subject, predicate = words["subject"][0], dict(words["predicate"])
        name, sha256 = subject["name"], subject["digest"]["sha256"]
    except (ValueError, KeyError, TypeError, IndexError):
        raise Problem("this is no statement on a package", place=Place(str(file))) from None
    return {
        "kind": "Statement",
        "name": name,
        "sha256": sha256,
        **predicate,
        "signedBy": [keyid[:12] or "?" for keyid in sealed.keyids],
        "vouchedFor": _vouching(sealed, settings),
    }


def _sealed(file: Path) -> Envelope:
    try:
        return envelope.parse(file.read_bytes())
    except Refused as refused:
        raise Problem(f"this is no statement: {refused}", place=Place(str(file))) from None


def _vouching(sealed: Envelope, settings: Settings) -> str:
    """Which root vouches for it, in words."""
    chain = _chain(settings)
    if chain is None:
        return "unknown: there are no roots here"
    for root in reversed(chain.roots):
        try:
            word = statement.verify(sealed, root.release)
        except Refused:
            continue
        keys = ", ".join(map(short, sorted(sealed.signers(root.release.keys), key=short)))
        what = f"{word.component} {word.version}, by {keys} of root {root.version}"
        return what if root is chain.newest else f"{what}, and not by root {chain.newest.version}"
    return f"by no root up to {chain.newest.version}"


def _chain(settings: Settings) -> Chain | None:
    if settings.organization is None:
        return None
    return find_chain(settings.fleet, settings.organization)
