"""`towline trust sign|publish`: a draft gathers signatures, and becomes the newest root."""

import shlex
import time
from pathlib import Path
from typing import Annotated

import typer

from towline.cli import root_drafts, signers, trust_show
from towline.cli.all_or_nothing import AllOrNothing
from towline.cli.all_or_nothing import replace as replace_file
from towline.cli.printing import tell
from towline.cli.root_drafts import Draft
from towline.cli.roots import Chain, find_chain, named, root_file, short
from towline.cli.settings import Settings, load_fleet
from towline.cli.working_copy import WorkingCopy
from towline.schemas import root
from towline.schemas.keys import PublicKey, Signer
from towline.schemas.problems import Place, Problem, Refused
from towline.schemas.root import Root

Repository = Annotated[
    Path | None, typer.Option("--repo", metavar="DIR", help="The fleet repository; default: here.")
]


def sign_command(
    keys: Annotated[list[str], typer.Option("--key", metavar="KEY", help="FILE or URI#KEYID.")],
    file: Annotated[
        Path | None,
        typer.Argument(metavar="[DRAFT]", help="Wherever it lies; default: the repository's."),
    ] = None,
    repository: Repository = None,
) -> None:
    """Sign the draft of a root; nothing but the file and the key is needed.

    towline trust sign 2.draft.json --key root-1.pem
    """
    draft, chain = _draft_and_chain(file, repository)
    before = root_drafts.predecessor(draft, chain) if chain else None
    known = _root_keys(draft.root, before)
    for line in trust_show.draft_lines(draft, chain, int(time.time())):
        tell(line)
    found = [signers.load(key, known) for key in keys]
    for key, signer in zip(keys, found, strict=True):
        _refuse_stranger(key, signer, known, is_all_known=chain is not None)
    sealed = draft.sealed.also_signed_by(*found)
    replace_file(draft.path, sealed.to_bytes(), 0o644)
    tell(f"signed by {named([signer.public for signer in found])}: {draft.path}")
    for demand in root_drafts.demands(Draft(draft.path, sealed, draft.root), before):
        tell(f"  {trust_show.demand_line(demand)}")


def publish_command(
    copies: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[DRAFT…]", help="Signed copies; default: the repository's draft."),
    ] = None,
    no_commit: Annotated[bool, typer.Option("--no-commit", help="Only write the file.")] = False,
    repository: Repository = None,
) -> None:
    """Make a draft with enough signatures the newest root, and commit it.

    towline trust publish
    """
    settings = load_fleet(repository)
    fleet, organization = settings.fleet, str(settings.organization)
    chain, own = find_chain(fleet, organization), root_drafts.find(fleet)
    drafts = [root_drafts.read(copy) for copy in copies or ()] + ([own] if own else [])
    if not drafts:
        raise Problem("there is no draft to publish", remedy="towline trust init, bump or rotate")
    draft = root_drafts.merged(drafts)
    new = _complete(draft, chain, organization)
    _refuse_unvouched(settings, new, chain)
    said = publish(settings, draft, chain, None if no_commit else WorkingCopy(settings.repository))
    tell(said)
    tell("the server takes it up with the next commit that it sees; devices follow by themselves")


def publish(settings: Settings, draft: Draft, chain: Chain | None, copy: WorkingCopy | None) -> str:
    """Write the root, take the draft away and commit both, or nothing; returns what was done."""
    fleet, version = settings.fleet, draft.root.version
    target, own = root_file(fleet, version), root_drafts.draft_file(fleet, version)
    outdated = [root_file(fleet, n) for n in range(version, len(chain.files) + 1)] if chain else []
    with AllOrNothing() as files:
        for file in (own, *outdated):
            if file.exists():
                files.remove(file)
        files.write(target, draft.sealed.to_bytes())
        if copy is None:
            return f"wrote {target}; commit it, with what was signed anew in {fleet / 'releases'}"
        changed = [target, *copy.changed([own, *outdated, fleet / "releases"])]
        commit = copy.commit(f"Publish root {version} of {draft.root.organization}", changed)
        return f"committed {commit}: root {version} is the newest now"


def _refuse_unvouched(settings: Settings, new: Root, chain: Chain | None) -> None:
    """The commit that brings other release keys must bring what they have signed, too."""
    from towline.cli.release_resign import unvouched  # noqa: PLC0415 heavy

    if lost := unvouched(settings, new, chain.newest if chain else None):
        raise Problem(
            f"root {new.version} does not vouch for what manifests name now, and devices would"
            " refuse their documents:\n    " + "\n    ".join(lost),
            remedy="towline release resign --all-live --key KEY, then publish again",
        )


def _draft_and_chain(file: Path | None, repository: Path | None) -> tuple[Draft, Chain | None]:
    """With a file of its own nothing else is needed: offline keys see no repository."""
    if file is not None:
        return root_drafts.read(file), None
    settings = load_fleet(repository)
    draft = root_drafts.find(settings.fleet)
    if draft is None:
        raise Problem("there is no draft to sign", remedy="towline trust init, bump or rotate")
    return draft, find_chain(settings.fleet, str(settings.organization))


def _root_keys(new: Root, before: Root | None) -> list[PublicKey]:
    return list(dict.fromkeys([*(before.root.keys if before else ()), *new.root.keys]))


def _refuse_stranger(
    key: str, signer: Signer, known: list[PublicKey], *, is_all_known: bool
) -> None:
    if signer.public in known:
        return
    said = f"{key} is {short(signer.public)}, and the draft's root keys are {named(known)}"
    if is_all_known:
        raise Problem(said, remedy="sign with a root key; nobody would count this one")
    tell(f"note: {said}; it counts only if the root before this one names it")


def _complete(draft: Draft, chain: Chain | None, organization: str) -> Root:
    before = root_drafts.predecessor(draft, chain)
    for demand in root_drafts.demands(draft, before):
        if demand.missing:
            raise Problem(
                f"it is not signed yet: {trust_show.demand_line(demand)}",
                remedy=f"towline trust sign {shlex.quote(str(draft.path))} --key KEY",
                place=Place(str(draft.path)),
            )
    data = draft.sealed.to_bytes()
    try:
        if before is None:
            return root.trust_first(data, organization)
        return root.succeed(before, data)
    except Refused as refused:
        raise Problem(f"devices would refuse it: {refused}", place=Place(str(draft.path))) from None
