"""From the files of a commit to what it would put in force: pure over bytes.

Deployments that do not load keep the form that the caller knows as their last good one.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from towline.manifests.load import Loaded, load
from towline.manifests.model import Deployment
from towline.reconciler.head import CommitSeen, Head
from towline.schemas import root as roots
from towline.schemas.problems import Refused


@dataclass(frozen=True, slots=True)
class HeadRead:
    """What a commit says, and why it could not be put in force."""

    head: Head | None
    """None when it has no root to be trusted."""
    loaded: Loaded
    root_error: str = ""

    @property
    def holding_errors(self) -> tuple[str, ...]:
        """Errors for which nothing of the commit would be applied."""
        found = [str(error) for error in self.loaded.errors if error.holds_commit]
        return (*found, f"trust/root: {self.root_error}") if self.root_error else tuple(found)


def read_head(
    files: Mapping[str, bytes],
    commit: CommitSeen,
    organization: str,
    last_good: Mapping[str, Deployment] | None = None,
) -> HeadRead:
    """Load manifests, follow the roots, keep the statements. Never raises."""
    loaded = load(files)
    chain = root_chain(files)
    if not chain:
        error = "trust/root/1.json is missing; `towline init` makes it"
        return HeadRead(None, loaded, error)
    try:
        root = roots.follow(chain, organization)
    except Refused as refused:
        return HeadRead(None, loaded, str(refused))
    kept = {
        name: manifest
        for name, manifest in (last_good or {}).items()
        if name in loaded.broken or manifest.file in loaded.unreadable
    }
    head = Head(
        organization=organization,
        commit=commit,
        root=root,
        roots=chain,
        deployments={**kept, **loaded.deployments},
        groups=loaded.groups,
        devices=loaded.devices,
        policies=loaded.policies,
        freezes=loaded.freezes,
        statements={path: data for path, data in files.items() if path.startswith("releases/")},
    )
    return HeadRead(head, loaded)


def replaces_roots(former: Head | None, new: Head | None) -> bool:
    """Its chain does not go on from the former one: it is somebody else's, or was cut off."""
    if former is None or new is None:
        return False
    return new.roots[: len(former.roots)] != former.roots


def root_chain(files: Mapping[str, bytes]) -> tuple[bytes, ...]:
    """The signed roots, version 1 first."""
    chain: list[bytes] = []
    while (data := files.get(f"trust/root/{len(chain) + 1}.json")) is not None:
        chain.append(data)
    return tuple(chain)
