"""`towline deployment`: a manifest made or edited by questions or options.

The same drafts and the same place for them as in the dashboard's wizard, so that equal answers make
equal files. Writes into the working copy, or asks the server to.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from towline.cli import settings
from towline.cli.all_or_nothing import AllOrNothing
from towline.cli.client import connect
from towline.cli.draft_questions import asked, said
from towline.cli.manifest_files import read_manifests
from towline.cli.printing import give, tell
from towline.cli.roots import newest_root
from towline.cli.settings import Settings
from towline.cli.working_copy import WorkingCopy
from towline.manifests.editing import edited
from towline.manifests.load import load
from towline.manifests.model import Deployment
from towline.manifests.policy import policy_for
from towline.reconciler.creating_place import BadFields, loaded_with, place
from towline.reconciler.draft import Draft, draft_of
from towline.reconciler.proposal import refuse_forbidden
from towline.reconciler.refusals import NotAllowed
from towline.reconciler.server.package_look import CannotLook, PackageLook
from towline.reconciler.statements import find_offer
from towline.schemas.problems import Problem

app = typer.Typer(help="Make and edit manifests.", no_args_is_help=True)

Texts = list[str] | None
Word = str | None


@dataclass(frozen=True, slots=True)
class Written:
    """A manifest, and all files that change with it."""

    manifest: Deployment
    changes: Mapping[str, bytes | None]
    """By path in the fleet's folder; None removes."""
    files: Mapping[str, bytes]
    """All of them, after the change."""

    @property
    def text(self) -> str:
        """The manifest's file."""
        return self.files[self.manifest.file].decode()


@app.callback()
def _group() -> None:
    """Make and edit manifests."""


@app.command("new")
def new(
    name: Annotated[Word, typer.Option(help="for people; the file is named after it")] = None,
    version: Annotated[Word, typer.Option(help="what devices run afterwards")] = None,
    component: Annotated[Word, typer.Option(help="default: system")] = None,
    strategy: Annotated[Word, typer.Option(help="canary, rolling, immediate or manual")] = None,
    percentage: Annotated[Word, typer.Option(help="first share, or each batch")] = None,
    start: Annotated[Word, typer.Option(help="manual (default) or automatic")] = None,
    notes: Annotated[Word, typer.Option(help="what is new")] = None,
    label: Annotated[Texts, typer.Option(help="KEY=VALUE of the devices; repeatable")] = None,
    device_type: Annotated[Texts, typer.Option(help="repeatable")] = None,
    group: Annotated[Texts, typer.Option(help="a DeviceGroup; repeatable")] = None,
    device: Annotated[Texts, typer.Option(help="by id, for strategy manual; repeatable")] = None,
    current_version: Annotated[Word, typer.Option(help="such as !=2.0.0")] = None,
    status: Annotated[Word, typer.Option(help="online or offline")] = None,
    package: Annotated[
        Word, typer.Option(metavar="URL|NAME", help="an https address, or a file of /packages/")
    ] = None,
    checksum: Annotated[Word, typer.Option(help="default: of what lies there now")] = None,
    edit: Annotated[Word, typer.Option(metavar="NAME", help="change this one instead")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print the manifest.")] = False,
    server: Annotated[bool, typer.Option("--server", help="Let the server commit it.")] = False,
    no_commit: Annotated[bool, typer.Option("--no-commit", help="Only write the file.")] = False,
    repository: Annotated[
        Path | None,
        typer.Option("--repo", metavar="DIR", help="The fleet repository; default: here."),
    ] = None,
) -> None:
    """Make a Deployment's manifest: by options, and by questions on a terminal.

    towline deployment new --name "Till 2.1" --version 2.1.0 --package till-2.1.0.tar.gz
    """
    given = {
        "deployment_name": name,
        "target_version": version,
        "component": component,
        "rollout_strategy": strategy,
        "rollout_percentage": percentage,
        "start": start,
        "release_notes": notes,
        "labels": _joined(label),
        "device_type": _joined(device_type),
        "group": _joined(group),
        "device_ids": _joined(device),
        "current_version": current_version,
        "status": status,
        "update_package_url": package,
        "checksum": checksum,
    }
    if server and (edit or no_commit or dry_run):
        raise Problem("--server goes with none of --edit, --no-commit and --dry-run")
    found = settings.load(repository) if server else settings.load_fleet(repository)
    typed = {field: text for field, text in given.items() if text is not None}
    files = {} if server else _read(found)
    try:
        if edit is not None:
            written = _edited(edit, typed, files, found)
        else:
            draft = _with_checksum(Draft(**asked(typed)), found, files)
            if server:
                _by_server(draft)
                return
            written = _placed(draft, files)
    except BadFields as bad:
        raise Problem("\n".join(said(*fault) for fault in bad.faults)) from None
    except NotAllowed as refused:
        raise Problem(str(refused)) from None
    if dry_run:
        give(written.text.rstrip("\n"))
    else:
        _write(written, found, is_committed=not no_commit, is_new=edit is None)
    _tell_statement(written, found)


def _joined(texts: Texts) -> str | None:
    return None if texts is None else ", ".join(texts)


def _read(found: Settings) -> dict[str, bytes]:
    """Manifests and statements of the working copy, by their path in the fleet's folder."""
    releases = found.fleet / "releases"
    statements = {
        path.relative_to(found.fleet).as_posix(): path.read_bytes()
        for path in releases.rglob("*.json")
        if path.is_file()
    }
    return read_manifests(found.fleet) | statements


def _with_checksum(draft: Draft, found: Settings, files: Mapping[str, bytes]) -> Draft:
    """That of what lies at the package's address, unless one was given."""
    if draft.checksum:
        return draft
    hosts = policy_for(load(files).policies, "deployments/new.yaml").package_hosts
    try:
        looked = PackageLook(found.packages).look(draft.update_package_url, hosts)
    except CannotLook as cannot:
        raise Problem(
            f"{draft.update_package_url} cannot be looked at: {cannot}",
            remedy="say --checksum sha256:… yourself",
        ) from None
    tell(f"{draft.update_package_url}: {looked.size} bytes, sha256:{looked.sha256}")
    return draft.model_copy(update={"checksum": f"sha256:{looked.sha256}"})


def _placed(draft: Draft, files: Mapping[str, bytes]) -> Written:
    # Which filters share devices only an inventory tells: `towline plan` does.
    placed = place(draft.body(), files, lambda _one, _other: False)
    if placed.same is not None:
        raise NotAllowed(f"{placed.same.file} says this already")
    refuse_forbidden(load(files).policies, placed.manifest)
    return Written(placed.manifest, placed.files, _after(files, placed.files))


def _edited(
    name: str, typed: Mapping[str, str], files: Mapping[str, bytes], found: Settings
) -> Written:
    loaded = load(files)
    old = loaded.deployments.get(name)
    if old is None:
        raise Problem(f"there is no manifest {name} that loads", remedy="towline validate")
    before = draft_of(old)
    draft = Draft(**(before.model_dump() | dict(typed)))
    if "update_package_url" in typed and "checksum" not in typed:
        draft = _with_checksum(draft.model_copy(update={"checksum": ""}), found, files)
    text = edited(files[old.file].decode(), name, draft.changes(before), old.file)
    changes: dict[str, bytes | None] = {old.file: text.encode()}
    if changes[old.file] == files[old.file]:
        raise NotAllowed("nothing is changed by that")
    manifest = loaded_with(files, changes, loaded, name, old.file)
    refuse_forbidden(loaded.policies, manifest)
    return Written(manifest, changes, _after(files, changes))


def _after(files: Mapping[str, bytes], changes: Mapping[str, bytes | None]) -> dict[str, bytes]:
    merged = {**files, **changes}
    return {path: data for path, data in merged.items() if data is not None}


def _write(written: Written, found: Settings, *, is_committed: bool, is_new: bool) -> None:
    """All of it or nothing, in one commit."""
    copy = WorkingCopy(found.repository) if is_committed else None
    branch = copy.branch() if copy else ""
    paths = [found.fleet / path for path in written.changes]
    verb = "Deploy" if is_new else "Change"
    message = f"{verb} {written.manifest.title}"
    with AllOrNothing() as kept:
        for path, data in zip(paths, written.changes.values(), strict=True):
            if data is None:
                kept.remove(path)
            else:
                kept.write(path, data)
        commit = copy.commit(message, paths) if copy else None
    for path, data in zip(paths, written.changes.values(), strict=True):
        tell(f"{'removed' if data is None else 'wrote  '} {path}")
    if commit is None:
        tell("next: look at it, then commit it")
        return
    tell(f"committed {commit} on {branch}: {message}")
    if branch != found.branch:
        tell(f"next: merge {branch} into {found.branch}, the branch that the server follows")
    tell("next: towline plan tells what it will do")


def _by_server(draft: Draft) -> None:
    body: dict[str, Any] = draft.body().model_dump(exclude_none=True, exclude_defaults=True)
    made = connect().post("/deployments", **body)
    tell(f"{made['name']} for {made['target_devices']} devices: deployment {made['deployment_id']}")
    if "branch" in made:
        tell(f"branch {made['branch']} waits for its merge:")
        give(made["compare"])
        return
    tell(f"commit {made['commit'][:12]} is in force; next: towline start {made['name']}")


def _tell_statement(written: Written, found: Settings) -> None:
    trusted = newest_root(found.fleet, str(found.organization))
    _, missing = find_offer(written.manifest, written.files, trusted)
    if missing:
        tell(f"next: {missing}")
