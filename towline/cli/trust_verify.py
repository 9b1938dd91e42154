"""`towline trust verify`: whether what a commit says of trust holds, before anyone merges it.

Reads the working copy: the roots, the manifests, the statements of the packages that they name, and
the package files that are at hand.
"""

import hashlib
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer

from towline.cli.exit_codes import ExitCode
from towline.cli.output import API_VERSION, Format, show_document
from towline.cli.printing import give
from towline.cli.roots import Chain, read_chain
from towline.cli.settings import Settings, load_fleet
from towline.reconciler.lengths import counted
from towline.reconciler.trust_warnings import warnings_of
from towline.schemas import envelope, statement
from towline.schemas.problems import Problem, Refused
from towline.schemas.statement import Statement

_ROOTS = "trust/root"


@dataclass(slots=True)
class Verified:
    """What was found, each as one line."""

    roots: int
    packages: int = 0
    """That manifests name, each with a statement that holds."""
    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def verify_command(
    base: Annotated[
        str | None,
        typer.Option(metavar="REF", help="The roots must go on from those of this commit."),
    ] = None,
    repository: Annotated[
        Path | None, typer.Option("--repo", metavar="DIR", help="The fleet repository.")
    ] = None,
    output: Annotated[Format, typer.Option("-o", "--output", help="table or json")] = Format.TABLE,
) -> None:
    """Check roots, and the statement of every package that a manifest names; 1 if any is wrong.

    towline trust verify --base origin/main
    """
    found = verify(load_fleet(repository), base, int(time.time()))
    if output is Format.TABLE:
        for each in found.errors:
            give(f"error: {each}")
        for each in found.warnings:
            give(f"warning: {each}")
        give(
            f"{counted(found.roots, 'root')} in a chain, {counted(found.packages, 'package')} with"
            f" a good statement: {counted(len(found.errors), 'error')},"
            f" {counted(len(found.warnings), 'warning')}"
        )
    else:
        show_document(_document(found), output)
    if found.errors:
        raise typer.Exit(ExitCode.ERROR)


def verify(settings: Settings, base: str | None, now: int) -> Verified:
    """Look at everything; raises Problem when the chain itself is broken."""
    fleet = settings.fleet
    chain = read_chain(fleet, str(settings.organization))
    found = Verified(len(chain.roots), warnings=warnings_of(chain.newest, now))
    if chain.newest.expires <= now:
        found.errors.append(found.warnings.pop())
    found.errors += _beyond_the_chain(fleet, chain)
    if base is not None:
        found.errors += _not_going_on(settings, chain, base)
    statements = {
        path.relative_to(fleet).as_posix(): path.read_bytes()
        for path in sorted(fleet.glob("releases/*/*/*.json"))
    }
    _check_packages(found, settings, chain, statements)
    _check_statements(found, chain, statements)
    return found


def _beyond_the_chain(fleet: Path, chain: Chain) -> Iterator[str]:
    """A number that was left out would hide every root behind it."""
    last = len(chain.roots)
    for file in sorted((fleet / _ROOTS).glob("*.json")):
        if file.stem.isdecimal() and int(file.stem) > last:
            yield f"{_ROOTS}/{file.name}: no {last + 1}.json comes before it"


def _not_going_on(settings: Settings, chain: Chain, base: str) -> Iterator[str]:
    for number, ours in enumerate(chain.files, 1):
        theirs = _file_at(settings.fleet, base, f"{_ROOTS}/{number}.json")
        if theirs is None:
            return
        if theirs != ours:
            yield (
                f"{_ROOTS}/{number}.json is another one than at {base}: a root is never changed,"
                " only followed by the next; devices would refuse it"
            )
    if _file_at(settings.fleet, base, f"{_ROOTS}/{len(chain.files) + 1}.json") is not None:
        yield f"{_ROOTS}/{len(chain.files) + 1}.json is missing, which is there at {base}"


def _file_at(fleet: Path, base: str, path: str) -> bytes | None:
    command = ["git", "-C", str(fleet), "rev-parse", "--verify", "--quiet", f"{base}^{{commit}}"]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        raise Problem(f"there is no commit {base}", remedy="fetch it first: git fetch origin")
    command = ["git", "-C", str(fleet), "show", f"{base}:./{path}"]
    done = subprocess.run(command, capture_output=True, check=False)
    return None if done.returncode else done.stdout


def _check_packages(
    found: Verified, settings: Settings, chain: Chain, statements: Mapping[str, bytes]
) -> None:
    from towline.cli.manifest_files import read_manifests  # noqa: PLC0415 heavy
    from towline.manifests.load import load  # noqa: PLC0415 heavy
    from towline.reconciler.statements import find_offer  # noqa: PLC0415 heavy

    loaded = load(read_manifests(settings.fleet))
    if loaded.errors:
        errors = counted(len(loaded.errors), "error")
        found.errors.append(f"the manifests have {errors}; towline validate tells them")
    for manifest in sorted(loaded.deployments.values(), key=lambda each: each.name):
        offer, problem = find_offer(manifest, statements, chain.newest)
        if offer is None:
            found.errors.append(f"{manifest.file}: {problem}")
            continue
        found.packages += len(offer.releases)
        for release in offer.releases:
            word = statement.verify(envelope.from_document(release.statement), chain.newest.release)
            found.errors += _not_the_file(settings, word)


def _not_the_file(settings: Settings, word: Statement) -> Iterator[str]:
    """What a package file that is at hand has otherwise."""
    file = settings.packages / word.file_name
    if not file.is_file():
        return
    if (size := file.stat().st_size) != word.size:
        yield f"{file} has {size} bytes, signed are {word.size}"
        return
    with file.open("rb") as content:
        sha256 = hashlib.file_digest(content, "sha256").hexdigest()
    if sha256 != word.sha256:
        yield f"{file} has sha256 {sha256}, signed is {word.sha256}"


def _check_statements(found: Verified, chain: Chain, statements: Mapping[str, bytes]) -> None:
    """Of all that lie there, also those that no manifest names now."""
    for path, data in statements.items():
        try:
            word = statement.verify(envelope.parse(data), chain.newest.release)
        except Refused as refused:
            if not any(path in error for error in found.errors):
                found.warnings.append(
                    f"{path}: root {chain.newest.version} does not vouch for it ({refused}); no"
                    " device goes to it; `towline release resign` signs it anew"
                )
            continue
        if path != statement.statement_path(word.component, word.version, word.file_name):
            found.errors.append(
                f"{path} is about {word.component} {word.version}, file {word.file_name}"
            )


def _document(found: Verified) -> dict[str, Any]:
    return {
        "apiVersion": API_VERSION,
        "kind": "TrustVerification",
        "ok": not found.errors,
        "roots": found.roots,
        "packages": found.packages,
        "errors": found.errors,
        "warnings": found.warnings,
    }
