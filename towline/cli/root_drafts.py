"""Roots that still gather signatures: `trust/root/N.draft.json`, an envelope with few or none.

A draft may be carried to where the offline keys are and back, in several copies: each holds the
same payload, and their signatures are laid together. Nothing believes in a draft.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from towline.cli.roots import Chain, root_file
from towline.schemas import envelope, root
from towline.schemas.envelope import Envelope
from towline.schemas.keys import PublicKey
from towline.schemas.problems import Place, Problem, Refused
from towline.schemas.root import ROOT_TYPE, Role, Root

_NAME = re.compile(r"([1-9][0-9]{0,5})\.draft\.json")


@dataclass(frozen=True, slots=True)
class Draft:
    """The next root and the signatures that it has."""

    path: Path
    sealed: Envelope
    root: Root


@dataclass(frozen=True, slots=True)
class Demand:
    """Whose signatures a draft needs."""

    version: int
    """Of the root that names them."""
    role: Role
    signed: frozenset[PublicKey]

    @property
    def missing(self) -> int:
        """Signatures."""
        return max(0, self.role.threshold - len(self.signed))


def draft_file(fleet: Path, version: int) -> Path:
    """Where the draft of a root lies."""
    file = root_file(fleet, version)
    return file.with_name(f"{version}.draft.json")


def find(fleet: Path) -> Draft | None:
    """The draft of a fleet repository; raises Problem when there are several."""
    files = [file for file in fleet.glob("trust/root/*.draft.json") if _NAME.fullmatch(file.name)]
    if len(files) > 1:
        raise Problem(
            f"there are {len(files)} drafts: {', '.join(sorted(file.name for file in files))}",
            remedy=f"remove those in {files[0].parent} that are not wanted",
        )
    return read(files[0]) if files else None


def read(file: Path) -> Draft:
    """A draft in a file, wherever that is; raises Problem."""
    try:
        sealed = envelope.parse(file.read_bytes(), least_signatures=0)
        if sealed.payload_type != ROOT_TYPE:
            raise Refused("payload-type", sealed.payload_type[:80])
        return Draft(file, sealed, root.parse_payload(sealed.payload))
    except OSError as error:
        raise Problem(f"it cannot be read: {error.strerror}", place=Place(str(file))) from None
    except Refused as refused:
        raise Problem(f"this is no draft of a root: {refused}", place=Place(str(file))) from None


def unsigned(new: Root) -> Envelope:
    """A draft that nobody has signed yet."""
    return envelope.sign(ROOT_TYPE, new.payload())


def predecessor(draft: Draft, chain: Chain | None) -> Root | None:
    """The root that must sign a draft beside its own keys; None for a first one.

    Raises Problem when the draft does not fit behind the chain.
    """
    if draft.root.version == 1 and (chain is None or chain.newest.is_development):
        return None
    newest = chain.newest.version if chain else 0
    if chain is None or draft.root.version != newest + 1:
        raise Problem(
            f"this is the draft of root {draft.root.version}, and the newest root is {newest}",
            remedy="remove it, and make another",
            place=Place(str(draft.path)),
        )
    return chain.newest


def demands(draft: Draft, before: Root | None) -> list[Demand]:
    """By TUF's chain rule: the threshold of the root before it, and its own."""
    roots = [draft.root] if before is None else [before, draft.root]
    return [Demand(r.version, r.root, draft.sealed.signers(r.root.keys)) for r in roots]


def merged(drafts: Iterable[Draft]) -> Draft:
    """Copies of one draft with the signatures of all; raises Problem when they differ."""
    first, *others = drafts
    sealed = first.sealed
    for other in others:
        if other.sealed.payload != first.sealed.payload:
            raise Problem(
                f"it is not a copy of {first.path}: what it says differs",
                place=Place(str(other.path)),
            )
        sealed = sealed.with_signatures(other.sealed)
    return Draft(first.path, sealed, first.root)
