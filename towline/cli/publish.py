"""`towline publish`: a folder becomes a signed release that a Deployment delivers, in one commit.

Everything is checked and made aside first; the package is in place before the commit that names
it. A failure at any step leaves the repository as it was.
"""

import hashlib
import shlex
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from towline.cli import manifest_edit, package, settings, signing
from towline.cli.all_or_nothing import AllOrNothing
from towline.cli.init import to_id
from towline.cli.manifest_edit import Delivery
from towline.cli.manifest_files import refuse_broken
from towline.cli.printing import tell
from towline.cli.roots import load_release_keys, newest_root
from towline.cli.settings import Settings
from towline.cli.signing import Release, Signed
from towline.cli.working_copy import WorkingCopy
from towline.manifests.model import StrategyKind
from towline.schemas.identifiers import is_id
from towline.schemas.problems import Place, Problem

_STRATEGIES = tuple(kind.value for kind in StrategyKind if kind is not StrategyKind.BATCHES)
"""Those that one word says in full."""


def publish(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Holds an install.sh.")],
    version: Annotated[str, typer.Option(help="Never used before for this component.")],
    component: Annotated[
        str, typer.Option(help="And the Deployment's name; default: the folder's name.")
    ] = "",
    strategy: Annotated[
        str | None, typer.Option(help=f"{', '.join(_STRATEGIES)}; default: as it was, or canary.")
    ] = None,
    no_commit: Annotated[bool, typer.Option("--no-commit", help="Only write the files.")] = False,
    repository: Annotated[
        Path | None,
        typer.Option("--repo", metavar="DIR", help="The fleet repository; default: here."),
    ] = None,
) -> None:
    """Ship a folder: build, sign, write the manifest, commit.

    towline publish ../hello --version 1.0.0
    """
    found = settings.load_fleet(repository)
    release = Release(component or _component(folder), version)
    signing.check_release(release)
    if strategy is not None and strategy not in _STRATEGIES:
        raise _no_strategy(strategy)
    copy = None if no_commit else WorkingCopy(found.repository)
    branch = copy.branch() if copy else ""
    published, commit = publish_release(folder, release, found, strategy, copy)
    _tell_done(published)
    _tell_next(published, found, commit, branch, copy)


@dataclass(frozen=True, slots=True)
class Published:
    """What lies where now."""

    release: Release
    package: Path
    statement: Path
    manifest: Path
    changed: tuple[Path, ...]
    """Those of the three that were written."""


def publish_release(
    folder: Path,
    release: Release,
    found: Settings,
    strategy: str | None,
    copy: WorkingCopy | None,
) -> tuple[Published, str | None]:
    """All of it or nothing; returns what was done and the commit's short hash, if there is one."""
    trusted = newest_root(found.fleet, str(found.organization))
    keys = load_release_keys([found.release_key], trusted)
    found.packages.mkdir(parents=True, exist_ok=True)
    target = found.packages / f"{release.component}-{release.version}.tar.gz"
    with (
        tempfile.TemporaryDirectory(dir=found.packages, prefix=".publish-") as aside,
        AllOrNothing() as files,
    ):
        built = Path(aside) / target.name
        package.build(folder, built, release.package_format)
        signed = signing.sign(built, release, found.fleet, trusted, keys, int(time.time()))
        manifest = found.fleet / "deployments" / f"{release.component}.yaml"
        text = _manifest(manifest, signed, strategy)
        refuse_broken(found.fleet, manifest, text)
        changed = _write(files, built, target, signed, manifest, text)
        done = Published(release, target, signed.path, manifest, tuple(changed))
        return done, _commit(copy, done)


def _component(folder: Path) -> str:
    name = folder.resolve().name
    if not is_id(name):
        raise Problem(
            f"the folder's name {name!r} cannot name a component: small letters, digits, dots,"
            " dashes and underscores",
            remedy=f"--component {to_id(name) or 'NAME'}",
        )
    return name


def _no_strategy(strategy: str) -> Problem:
    if strategy == StrategyKind.BATCHES:
        return Problem(
            "a list of batches does not fit in one word",
            remedy="publish without --strategy, and write the batches in the manifest",
        )
    return Problem(f"there is no strategy {strategy}", remedy=f"one of: {', '.join(_STRATEGIES)}")


def _manifest(file: Path, signed: Signed, strategy: str | None) -> str:
    word = signed.statement
    delivery = Delivery(word.component, word.version, word.file_name, word.sha256, strategy)
    if not file.exists() and strategy == StrategyKind.MANUAL:
        raise Problem(
            "strategy manual takes the devices that the manifest names, and this one is new",
            remedy="publish with --no-commit and another strategy first, then write"
            f" `strategy: manual` and `filters: {{devices: [ID]}}` in {file}",
        )
    if not file.exists():
        return manifest_edit.new_manifest(delivery)
    try:
        text = file.read_bytes().decode()
    except UnicodeDecodeError:
        raise Problem("it is not UTF-8", place=Place(str(file))) from None
    return manifest_edit.edited(text, delivery, str(file))


def _write(
    files: AllOrNothing, built: Path, target: Path, signed: Signed, manifest: Path, text: str
) -> list[Path]:
    """Puts in place what is not there yet; the package first, so that what is named is there."""
    changed = []
    if not target.exists():
        files.move(built, target)
        changed.append(target)
    elif _sha256(target) != signed.statement.sha256:
        raise Problem(
            f"{target} is there with another content; a version is never used twice",
            remedy=f"give it a version after {signed.statement.version}; or remove that file if no"
            " device ever got it",
        )
    if signed.is_new:
        files.write(signed.path, signed.data)
        changed.append(signed.path)
    if not manifest.exists() or manifest.read_bytes() != text.encode():
        files.write(manifest, text.encode())
        changed.append(manifest)
    return changed


def _sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _commit(copy: WorkingCopy | None, done: Published) -> str | None:
    paths: Sequence[Path] = (done.statement, done.manifest)
    if copy is None or not copy.is_changed(paths):
        return None
    return copy.commit(f"Publish {done.release.component} {done.release.version}", paths)


def _tell_done(done: Published) -> None:
    for what, path in (
        ("package", done.package),
        ("statement", done.statement),
        ("manifest", done.manifest),
    ):
        tell(f"{'wrote' if path in done.changed else 'kept '} {what:9} {path}")


def _tell_next(
    done: Published, found: Settings, commit: str | None, branch: str, copy: WorkingCopy | None
) -> None:
    name, version = done.release.component, done.release.version
    if copy is None:
        paths = shlex.join([str(done.statement), str(done.manifest)])
        tell(f"next: look at them, then commit: git add {paths} && git commit")
        return
    if commit is None:
        tell(f"{name} {version} had been published just so: nothing to commit")
        return
    tell(f"committed {commit} on {branch}: Publish {name} {version}")
    if branch != found.branch:
        tell(f"next: merge {branch} into {found.branch}, the branch that the server follows")
    if copy.git("remote"):
        tell(f"next: push it, and put the package into {found.packages.name}/ on the server")
    tell(f"the rollout begins when the server sees it on {found.branch}: towline watch {name}")
