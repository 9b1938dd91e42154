"""`towline validate`: what the loader says of manifests, before anyone merges them."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from towline.cli.exit_codes import ExitCode
from towline.cli.manifest_files import read_manifests
from towline.cli.output import Format, show_document
from towline.cli.printing import give
from towline.cli.settings import load as load_settings
from towline.cli.settings import load_fleet
from towline.manifests.errors import LoadError
from towline.manifests.load import Loaded, load
from towline.manifests.model import Deployment
from towline.manifests.policy_errors import policy_errors, policy_warnings
from towline.reconciler.statements import statement_paths
from towline.schemas.problems import Problem


def validate(
    paths: Annotated[
        list[Path] | None, typer.Argument(help="files or folders; default: the fleet repository")
    ] = None,
    output: Annotated[Format, typer.Option("-o", "--output", help="table or json")] = Format.TABLE,
) -> None:
    """Check manifests; every error of every file at once, with its place and a remedy.

    Manifests are judged by the Policies that lie beside them.
    """
    checked = _named(paths) if paths else _fleet()
    loaded = load(checked.files)
    found = (*loaded.errors, *policy_errors(checked.files, loaded))
    errors = [error for error in found if error.place.file in checked.named]
    deployments = [each for each in loaded.deployments.values() if each.file in checked.named]
    warnings = [
        *(_unsigned(deployments, checked.fleet) if checked.fleet else ()),
        *_idle_policies(loaded, checked.named),
    ]
    if output is Format.TABLE:
        _show(errors, warnings, len(checked.named), len(deployments))
    else:
        show_document(_document(errors, warnings, deployments), output)
    if errors:
        raise typer.Exit(ExitCode.ERROR)


@dataclass(frozen=True, slots=True)
class _Checked:
    """What is loaded, and which of it was asked for."""

    files: dict[str, bytes]
    named: frozenset[str]
    fleet: Path | None
    """Where statements lie; None outside of a fleet repository."""


def _fleet() -> _Checked:
    fleet = load_fleet().fleet
    files = read_manifests(fleet)
    return _Checked(files, frozenset(files), fleet)


def _named(paths: list[Path]) -> _Checked:
    """Files of a fleet repository are read beside all others there: they may name its groups."""
    found: list[Path] = []
    for path in paths:
        if not path.exists():
            raise Problem(f"{path} does not exist")
        found += sorted(path.rglob("*.y*ml")) if path.is_dir() else [path]
    settings = load_settings()
    fleet = settings.fleet.resolve()
    is_ours = all(file.resolve().is_relative_to(fleet) for file in found)
    if settings.organization is None or not is_ours:
        alone = {str(file): file.read_bytes() for file in found}
        return _Checked(alone, frozenset(alone), None)
    names = {file.resolve().relative_to(fleet).as_posix(): file.read_bytes() for file in found}
    return _Checked(read_manifests(fleet) | names, frozenset(names), fleet)


def _unsigned(deployments: Iterable[Deployment], fleet: Path) -> Iterator[dict[str, str]]:
    """A package without a statement is no load error: the run waits for it."""
    for each in deployments:
        for statement in statement_paths(each):
            if not (fleet / statement).is_file():
                message = f"{statement} is missing: the run will wait for it;"
                yield {
                    "file": each.file,
                    "deployment": each.name,
                    "message": f"{message} `towline release sign` writes it",
                }


def _idle_policies(loaded: Loaded, named: Collection[str]) -> Iterator[dict[str, str]]:
    for warning in policy_warnings(loaded):
        if warning.policy.file in named:
            yield {
                "file": warning.policy.file,
                "policy": warning.policy.name,
                "message": warning.message,
            }


def _show(
    errors: Sequence[LoadError], warnings: Sequence[dict[str, str]], files: int, deployments: int
) -> None:
    for error in errors:
        give(f"error: {error}")
    for warning in warnings:
        give(f"warning: {warning['file']}: {warning['message']}")
    give(
        f"{_count(files, 'file')}, {_count(deployments, 'good Deployment')}:"
        f" {_count(len(errors), 'error')}, {_count(len(warnings), 'warning')}"
    )


def _count(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def _document(
    errors: Sequence[LoadError],
    warnings: Sequence[dict[str, str]],
    deployments: Sequence[Deployment],
) -> dict[str, Any]:
    return {
        "apiVersion": "towline/v1",
        "kind": "Validation",
        "ok": not errors,
        "deployments": sorted(each.name for each in deployments),
        "errors": [_error(error) for error in errors],
        "warnings": list(warnings),
    }


def _error(error: LoadError) -> dict[str, Any]:
    return {
        "file": error.place.file,
        "line": error.place.line,
        "column": error.place.column,
        "path": error.path,
        "message": error.message,
        "remedy": error.remedy,
        "kind": error.kind,
        "name": error.name,
    }
