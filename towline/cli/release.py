"""`towline release`: the release key's word on a package file, given, checked and shown."""

import shlex
import time
from pathlib import Path
from typing import Annotated

import typer

from towline.cli import settings, signing
from towline.cli.all_or_nothing import AllOrNothing
from towline.cli.printing import give, tell
from towline.cli.release_inspect import inspect_command
from towline.cli.release_resign import resign_command
from towline.cli.roots import load_release_keys, newest_root
from towline.cli.signing import Release
from towline.schemas.problems import Place, Problem
from towline.schemas.statement import Statement

app = typer.Typer(no_args_is_help=True, help="Sign and verify releases.", add_completion=False)

PackageFile = Annotated[Path, typer.Argument(metavar="FILE", help="A package file.")]
Repository = Annotated[
    Path | None, typer.Option("--repo", metavar="DIR", help="The fleet repository; default: here.")
]


@app.command("sign")
def sign_command(
    package: PackageFile,
    component: Annotated[str, typer.Option(help="What the package is a version of.")],
    version: Annotated[str, typer.Option()],
    device_type: Annotated[
        list[str] | None, typer.Option(help="Whom it is built for; may be repeated. None: any.")
    ] = None,
    package_format: Annotated[str, typer.Option("--format")] = "script",
    rollback_index: Annotated[
        int, typer.Option(help="Devices never go back below the highest index they ran.")
    ] = 0,
    key: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY", help="FILE or URI#KEYID; default: release_key."),
    ] = None,
    repository: Repository = None,
) -> None:
    """Sign a package: measure it as a device would, and write its statement.

    towline release sign hello-1.0.0.tar.gz --component hello --version 1.0.0
    """
    found = settings.load_fleet(repository)
    trusted = newest_root(found.fleet, str(found.organization))
    keys = load_release_keys(key or [str(found.release_key)], trusted)
    _refuse_no_file(package)
    release = Release(component, version, package_format, tuple(device_type or ()), rollback_index)
    signed = signing.sign(package, release, found.fleet, trusted, keys, int(time.time()))
    if signed.is_new:
        with AllOrNothing() as files:
            files.write(signed.path, signed.data)
    tell(f"{'wrote' if signed.is_new else 'already signed, unchanged:'} {signed.path}")
    tell("commit it, and paste this into the manifest:")
    give(as_yaml(signed.statement))


@app.command("verify")
def verify_command(package: PackageFile, repository: Repository = None) -> None:
    """Tell whether a package file is what was signed; exit code 1 when it is not.

    towline release verify hello-1.0.0.tar.gz
    """
    found = settings.load_fleet(repository)
    trusted = newest_root(found.fleet, str(found.organization))
    _refuse_no_file(package)
    paths = signing.find(found.fleet, package.name)
    if not paths:
        where = f" --repo {shlex.quote(str(repository))}" if repository else ""
        raise Problem(
            f"no statement on {package.name} lies in {found.fleet / 'releases'}",
            remedy=f"towline release sign {shlex.quote(str(package))} --component COMPONENT"
            f" --version VERSION{where}",
        )
    for path in paths:
        word = signing.read(path, trusted)
        if differs := signing.differences(package, word):
            raise Problem(
                f"{package} is not what was signed as {word.component} {word.version}:\n    "
                + "\n    ".join(differs),
                remedy="get the file again from where it was built; if it was meant to change,"
                " give it a new version",
                place=Place(str(path)),
            )
        tell(f"{package} is what was signed as {word.component} {word.version}: {path}")


app.command("resign")(resign_command)
app.command("inspect")(inspect_command)


def as_yaml(word: Statement) -> str:
    """The `package` of a manifest for a signed file."""
    return (
        f"package:\n  url: {word.file_name}\n  checksum: sha256:{word.sha256}"
        f"\n  # size: {word.size} bytes, unpacked {word.unpacked_size}"
    )


def _refuse_no_file(package: Path) -> None:
    if not package.is_file():
        raise Problem(
            f"there is no file {package}",
            remedy=f"towline package build FOLDER -o {shlex.quote(str(package))}",
        )
