"""The newest root of a fleet repository, and which keys it lets sign releases."""

from collections.abc import Sequence
from pathlib import Path

from towline.schemas import root
from towline.schemas.keys import PrivateKey
from towline.schemas.problems import Place, Problem, Refused
from towline.schemas.root import Root


def newest_root(fleet: Path, organization: str) -> Root:
    """The root that `trust/root/` ends in; raises Problem when the chain is broken or absent."""
    folder = fleet / "trust" / "root"
    chain: list[bytes] = []
    while (file := folder / f"{len(chain) + 1}.json").is_file():
        chain.append(file.read_bytes())
    if not chain:
        raise Problem(f"{folder / '1.json'} is missing", remedy="towline init DIR makes one")
    try:
        return root.follow(chain, organization)
    except Refused as refusal:
        raise Problem(
            f"the roots are not to be trusted: {refusal}",
            remedy="restore them from git; a root is only ever replaced by its successor",
            place=Place(str(folder)),
        ) from None


def load_release_keys(files: Sequence[Path], trusted: Root) -> list[PrivateKey]:
    """The keys, once the newest root names all of them as release keys; raises Problem."""
    keys = [PrivateKey.load(file) for file in files]
    for file, key in zip(files, keys, strict=True):
        if key.public not in trusted.release.keys:
            named = ", ".join(known.keyid[:12] for known in trusted.release.keys)
            raise Problem(
                f"{file} is no release key: root {trusted.version} names {named}, this one is"
                f" {key.public.keyid[:12]}",
                remedy="sign with --key FILE of a release key; devices would refuse anything else",
            )
    if len({key.public for key in keys}) < trusted.release.threshold:
        raise Problem(
            f"root {trusted.version} wants {trusted.release.threshold} release keys to sign",
            remedy="give --key FILE once for each of them",
        )
    return keys
