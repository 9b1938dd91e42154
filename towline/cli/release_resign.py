"""`towline release resign`: what retired release keys have signed, signed again by those of now.

A statement is signed anew only when a root of the chain vouched for it, and as it stood but for the
rollback index; a package file that is at hand is measured again. Which of them are still wanted is
for a person to say: a key that was stolen may have signed what nobody wanted.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import typer

from towline.cli import root_drafts, signing
from towline.cli.all_or_nothing import AllOrNothing
from towline.cli.manifest_files import read_manifests
from towline.cli.printing import tell
from towline.cli.roots import load_release_keys, read_chain
from towline.cli.settings import Settings, load_fleet
from towline.manifests.load import load
from towline.reconciler.lengths import counted
from towline.reconciler.statements import find_offer, statement_paths
from towline.schemas import envelope, statement
from towline.schemas.problems import Place, Problem, Refused
from towline.schemas.root import Root
from towline.schemas.statement import Statement


@dataclass(frozen=True, slots=True)
class Former:
    """A statement as it lies there, and the root that vouches for it."""

    path: Path
    word: Statement
    vouched_by: Root


def resign_command(
    files: Annotated[
        list[Path] | None, typer.Argument(metavar="[STATEMENT…]", help="In releases/.")
    ] = None,
    all_live: Annotated[
        bool, typer.Option("--all-live", help="All that manifests name now.")
    ] = False,
    everything: Annotated[
        bool, typer.Option("--all", help="All that lie in releases/: older versions, too.")
    ] = False,
    rollback_index: Annotated[
        int | None, typer.Option(min=0, help="Raise it: devices never go back below it.")
    ] = None,
    key: Annotated[
        list[str] | None, typer.Option(metavar="KEY", help="Default: release_key.")
    ] = None,
    repository: Annotated[
        Path | None, typer.Option("--repo", metavar="DIR", help="The fleet repository.")
    ] = None,
) -> None:
    """Sign statements again, by the release keys of the newest root or of its draft.

    towline release resign --all-live --key release-2.pem
    """
    found = load_fleet(repository)
    if [bool(files), all_live, everything].count(True) != 1:
        raise Problem("name the statements, or say --all-live or --all")
    roots = _roots(found)
    trusted = roots[-1]
    keys = load_release_keys(key or [str(found.release_key)], trusted)
    paths = files or (_live(found) if all_live else sorted(_statements(found.fleet)))
    tell(f"for the release keys of root {trusted.version}:")
    with AllOrNothing() as changes:
        for former in [_read(path, roots) for path in paths]:
            new = _anew(former, rollback_index)
            if new == former.word and former.vouched_by.release == trusted.release:
                tell(f"  unchanged  {former.path}")
                continue
            checked = _check_file(found, new)
            changes.write(former.path, new.sign(*keys).to_bytes())
            tell(f"  signed     {former.path}: {new.component} {new.version}, {checked}")
    tell(f"looked at {counted(len(paths), 'statement')}; commit them, with the root if it is new")


def unvouched(settings: Settings, new: Root, old: Root | None) -> list[str]:
    """What manifests name, is good now, and would not be so under `new`."""
    if old is None or old.release == new.release:
        return []
    statements = {
        path.relative_to(settings.fleet).as_posix(): path.read_bytes()
        for path in _statements(settings.fleet)
    }
    found = []
    for manifest in load(read_manifests(settings.fleet)).deployments.values():
        was, _ = find_offer(manifest, statements, old)
        if was is not None:
            _, problem = find_offer(manifest, statements, new)
            found += [f"{manifest.file}: {problem}"] if problem else []
    return sorted(found)


def _roots(found: Settings) -> Sequence[Root]:
    """Those of the chain, and behind them a draft: what it names signs before it is published."""
    chain = read_chain(found.fleet, str(found.organization))
    draft = root_drafts.find(found.fleet)
    if draft is None:
        return chain.roots
    root_drafts.predecessor(draft, chain)
    return (*chain.roots, draft.root)


def _statements(fleet: Path) -> Iterator[Path]:
    return fleet.glob("releases/*/*/*.json")


def _live(found: Settings) -> list[Path]:
    manifests = load(read_manifests(found.fleet)).deployments.values()
    names = {name for manifest in manifests for name in statement_paths(manifest)}
    return sorted(path for name in names if (path := found.fleet / name).is_file())


def _read(path: Path, roots: Sequence[Root]) -> Former:
    """By the newest root that vouches for it; raises Problem when none does."""
    try:
        sealed = envelope.parse(path.read_bytes())
    except OSError as error:
        raise Problem(f"it cannot be read: {error.strerror}", place=Place(str(path))) from None
    except Refused as refused:
        raise Problem(f"this is no statement: {refused}", place=Place(str(path))) from None
    for root in reversed(roots):
        try:
            return Former(path, statement.verify(sealed, root.release), root)
        except Refused:
            continue
    raise Problem(
        "no root of this repository ever vouched for it",
        remedy="measure and sign the package itself: towline release sign FILE",
        place=Place(str(path)),
    )


def _anew(former: Former, rollback_index: int | None) -> Statement:
    if rollback_index is None:
        return former.word
    if rollback_index < former.word.rollback_index:
        raise Problem(
            f"its rollback index is {former.word.rollback_index}, and only ever rises",
            place=Place(str(former.path)),
        )
    return replace(former.word, rollback_index=rollback_index)


def _check_file(found: Settings, word: Statement) -> str:
    """Measures the package file where it is at hand; raises Problem when it differs."""
    file = found.packages / word.file_name
    if not file.is_file():
        return "its file is not at hand and was not measured"
    if differs := signing.differences(file, word):
        raise Problem(
            "it is not what was signed:\n    " + "\n    ".join(differs), place=Place(str(file))
        )
    return "its file measured again"
