"""`towline validate`: what the loader says of manifests, before anyone merges them."""

from pathlib import Path
from typing import Annotated, Any

import typer

from towline.cli.exit_codes import ExitCode
from towline.cli.manifest_files import read_manifests
from towline.cli.output import Format, show_document
from towline.cli.printing import give
from towline.cli.settings import load_fleet
from towline.manifests.errors import LoadError
from towline.manifests.load import Loaded, load
from towline.manifests.model import Deployment
from towline.schemas.problems import Problem
from towline.schemas.statement import statement_path


def validate(
    paths: Annotated[
        list[Path] | None, typer.Argument(help="files or folders; default: the fleet repository")
    ] = None,
    output: Annotated[Format, typer.Option("-o", "--output", help="table or json")] = Format.TABLE,
) -> None:
    """Check manifests; every error of every file at once, with its place and a remedy."""
    base = Path.cwd() if paths else load_fleet().fleet
    files = _named(paths) if paths else read_manifests(base)
    loaded = load(files)
    warnings = _warnings(loaded, base)
    if output is Format.TABLE:
        _show(loaded, warnings, len(files))
    else:
        show_document(_document(loaded, warnings), output)
    if loaded.errors:
        raise typer.Exit(ExitCode.ERROR)


def _named(paths: list[Path]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for path in paths:
        if not path.exists():
            raise Problem(f"{path} does not exist")
        files = sorted(path.rglob("*.y*ml")) if path.is_dir() else [path]
        found |= {str(file): file.read_bytes() for file in files}
    return found


def _warnings(loaded: Loaded, base: Path) -> list[dict[str, str]]:
    """A package without a statement is no load error: the run waits for it."""
    return [
        {
            "file": each.file,
            "deployment": each.name,
            "message": f"{_statement(each)} is missing: the run will wait for it;"
            " `towline release sign` writes it",
        }
        for each in loaded.deployments.values()
        if not (base / _statement(each)).is_file()
    ]


def _statement(manifest: Deployment) -> str:
    package = manifest.packages[0]
    return statement_path(manifest.component, manifest.target_version, package.file_name)


def _show(loaded: Loaded, warnings: list[dict[str, str]], files: int) -> None:
    for error in loaded.errors:
        give(f"error: {error}")
    for warning in warnings:
        give(f"warning: {warning['file']}: {warning['message']}")
    give(
        f"{files} files: {len(loaded.deployments)} Deployments, {len(loaded.groups)} DeviceGroups,"
        f" {len(loaded.devices)} Devices; {len(loaded.errors)} errors, {len(warnings)} warnings"
    )


def _document(loaded: Loaded, warnings: list[dict[str, str]]) -> dict[str, Any]:
    return {
        "apiVersion": "towline/v1",
        "kind": "Validation",
        "ok": not loaded.errors,
        "deployments": sorted(loaded.deployments),
        "errors": [_error(error) for error in loaded.errors],
        "warnings": warnings,
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
