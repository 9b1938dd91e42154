"""The roots of a fleet repository, and which keys they let sign releases."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from towline.cli import signers
from towline.schemas import root
from towline.schemas.keys import PublicKey, Signer
from towline.schemas.problems import Place, Problem, Refused
from towline.schemas.root import Root


@dataclass(frozen=True, slots=True)
class Chain:
    """Every root from version 1 on, each signed by the one before it."""

    files: tuple[bytes, ...]
    """As they are served."""
    roots: tuple[Root, ...]

    @property
    def newest(self) -> Root:
        """The one that counts."""
        return self.roots[-1]


def root_file(fleet: Path, version: int) -> Path:
    """Where a root lies."""
    return fleet / "trust" / "root" / f"{version}.json"


def read_chain(fleet: Path, organization: str) -> Chain:
    """What `trust/root/` holds; raises Problem when it is absent or broken."""
    found = find_chain(fleet, organization)
    if found is None:
        raise Problem(
            f"{root_file(fleet, 1)} is missing", remedy="towline init or towline trust init make it"
        )
    return found


def find_chain(fleet: Path, organization: str) -> Chain | None:
    """As `read_chain`; None when there is no root at all."""
    files: list[bytes] = []
    while (file := root_file(fleet, len(files) + 1)).is_file():
        files.append(file.read_bytes())
    if not files:
        return None
    try:
        return Chain(tuple(files), root.walk(files, organization))
    except Refused as refusal:
        raise Problem(
            f"the roots are not to be trusted: {refusal}",
            remedy="restore them from git; a root is only ever replaced by its successor",
            place=Place(str(root_file(fleet, 1).parent)),
        ) from None


def newest_root(fleet: Path, organization: str) -> Root:
    """The root that `trust/root/` ends in; raises Problem when the chain is broken or absent."""
    return read_chain(fleet, organization).newest


def load_release_keys(keys: Sequence[str | Path], trusted: Root) -> list[Signer]:
    """The keys, once the newest root names all of them as release keys; raises Problem.

    Each is a file or the URI of a token or key service.
    """
    found = [signers.load(str(key), trusted.release.keys) for key in keys]
    for key, signer in zip(keys, found, strict=True):
        if signer.public not in trusted.release.keys:
            raise Problem(
                f"{key} is no release key: root {trusted.version} names"
                f" {named(trusted.release.keys)}, this one is {short(signer.public)}",
                remedy="sign with --key FILE of a release key; devices would refuse anything else",
            )
    if len({signer.public for signer in found}) < trusted.release.threshold:
        raise Problem(
            f"root {trusted.version} wants {trusted.release.threshold} release keys to sign",
            remedy="give --key FILE once for each of them",
        )
    return found


def short(key: PublicKey) -> str:
    """A key as people tell it from others."""
    return key.keyid[:12]


def named(keys: Sequence[PublicKey]) -> str:
    """Several of them."""
    return ", ".join(map(short, keys)) or "none"
