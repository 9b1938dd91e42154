"""`towline trust show`: the newest root, who may sign what, and what a draft still needs."""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from towline.cli import root_drafts
from towline.cli.output import API_VERSION, Format, show_document
from towline.cli.printing import give, tell
from towline.cli.root_drafts import Demand, Draft
from towline.cli.roots import Chain, find_chain, short
from towline.cli.settings import load_fleet
from towline.reconciler.lengths import about
from towline.reconciler.trust_warnings import warnings_of
from towline.schemas import times
from towline.schemas.keys import PublicKey
from towline.schemas.problems import Problem
from towline.schemas.root import Role, Root
from towline.schemas.verifier import root_fingerprint

ROLES = ("root", "release", "online")


def show_command(
    file: Annotated[
        Path | None, typer.Argument(metavar="[DRAFT]", help="A draft, wherever it lies.")
    ] = None,
    repository: Annotated[
        Path | None, typer.Option("--repo", metavar="DIR", help="The fleet repository.")
    ] = None,
    output: Annotated[Format, typer.Option("-o", "--output", help="table or json")] = Format.TABLE,
) -> None:
    """Show the newest root, the keys of each role, and the signatures that a draft still needs.

    towline trust show
    """
    chain, draft = None, root_drafts.read(file) if file else None
    if file is None:
        found = load_fleet(repository)
        chain, draft = (
            find_chain(found.fleet, str(found.organization)),
            root_drafts.find(found.fleet),
        )
        if chain is None and draft is None:
            raise Problem("there is no root and no draft of one", remedy="towline trust init")
    now = int(time.time())
    if output is not Format.TABLE:
        show_document(_document(chain, draft), output)
        return
    if chain is not None:
        for line in _lines(chain, now):
            give(line)
    if draft is not None:
        for line in draft_lines(draft, chain, now):
            give(line)
    for warning in warnings_of(chain.newest, now) if chain else ():
        tell(f"warning: {warning}")


def role_of(root: Root, name: str) -> Role:
    """A role by the word that people use."""
    return {"root": root.root, "release": root.release, "online": root.online}[name]


def root_lines(root: Root, now: int) -> Iterator[str]:
    """When it ends, and who may speak for each role."""
    left = root.expires - now
    when = f"in {about(left)}" if left > 0 else f"{about(-left)} ago"
    yield f"  expires   {times.to_rfc3339(root.expires)} ({when})"
    for name in ROLES:
        role = role_of(root, name)
        keys = "  ".join(map(_told, role.keys))
        yield f"  {name:<9} {role.threshold} of {len(role.keys)}  {keys}"
    if root.is_development:
        yield "  keys      throw-away, for development only"


def draft_lines(draft: Draft, chain: Chain | None, now: int) -> Iterator[str]:
    """What a draft says, what it changes, and whose signatures it needs."""
    before = _before(draft, chain)
    yield f"draft of root {draft.root.version} of {draft.root.organization}: {draft.path}"
    yield from root_lines(draft.root, now)
    if before is not None:
        yield from changes(before, draft.root)
    for demand in root_drafts.demands(draft, before):
        yield f"  {demand_line(demand)}"


def demand_line(demand: Demand) -> str:
    """How many signatures of whom it has and needs."""
    signed = (
        ", ".join(map(short, [key for key in demand.role.keys if key in demand.signed])) or "none"
    )
    still = f"{demand.missing} more" if demand.missing else "enough"
    return (
        f"keys of root {demand.version}: {len(demand.signed)} of {demand.role.threshold}"
        f" signatures, {still} (signed: {signed})"
    )


def changes(old: Root, new: Root) -> Iterator[str]:
    """What a root changes, one line for each role that is another."""
    for name in ROLES:
        was, now = role_of(old, name), role_of(new, name)
        gone = [f"-{short(key)}" for key in was.keys if key not in now.keys]
        come = [f"+{short(key)}" for key in now.keys if key not in was.keys]
        words = [*gone, *come]
        if was.threshold != now.threshold:
            words.append(f"threshold {was.threshold} -> {now.threshold}")
        if words:
            yield f"  changes   {name}: {' '.join(words)}"
    if old.is_development and not new.is_development:
        yield "  changes   no throw-away keys any more"


def _before(draft: Draft, chain: Chain | None) -> Root | None:
    return None if chain is None else root_drafts.predecessor(draft, chain)


def _lines(chain: Chain, now: int) -> Iterator[str]:
    newest = chain.newest
    yield f"root {newest.version} of {newest.organization}"
    yield from root_lines(newest, now)
    yield f"  root 1    {root_fingerprint(chain.files[0])}"


def _told(key: PublicKey) -> str:
    return short(key) if key.scheme == "ed25519" else f"{short(key)} ({key.scheme})"


def _document(chain: Chain | None, draft: Draft | None) -> dict[str, Any]:
    found: dict[str, Any] = {"apiVersion": API_VERSION, "kind": "Trust"}
    if chain is not None:
        found |= _root_document(chain.newest)
        found["firstRoot"] = root_fingerprint(chain.files[0])
    if draft is not None:
        found["draft"] = _root_document(draft.root) | {
            "file": str(draft.path),
            "signatures": [
                {
                    "keysOfRoot": demand.version,
                    "threshold": demand.role.threshold,
                    "signed": _ids(sorted(demand.signed, key=lambda key: key.keyid)),
                }
                for demand in root_drafts.demands(draft, _before(draft, chain))
            ],
        }
    return found


def _root_document(root: Root) -> dict[str, Any]:
    return {
        "organization": root.organization,
        "version": root.version,
        "expires": times.to_rfc3339(root.expires),
        "development": root.is_development,
        "roles": {
            name: {
                "threshold": role_of(root, name).threshold,
                "keyids": _ids(role_of(root, name).keys),
            }
            for name in ROLES
        },
    }


def _ids(keys: Sequence[PublicKey]) -> list[str]:
    return [key.keyid for key in keys]
