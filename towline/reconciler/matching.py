"""Which devices a manifest's filters own now, and who else wants them: for who writes filters."""

from dataclasses import dataclass

from sqlalchemy import Connection

from towline.manifests.filters import may_overlap
from towline.manifests.model import Deployment
from towline.reconciler.creating_reach import reach
from towline.reconciler.head import Head
from towline.reconciler.store import plan_reading

SAMPLE = 5


@dataclass(frozen=True, slots=True)
class Shared:
    """Devices that another Deployment of the component owns, too."""

    name: str
    is_api_made: bool
    devices: int
    sample: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Matching:
    """What the filters come to."""

    devices: int
    sample: tuple[str, ...]
    """The first ids."""
    updated: int
    """Of them: eligible, and running something else."""
    shared: tuple[Shared, ...]


def matching(connection: Connection, head: Head, manifest: Deployment, seen_after: int) -> Matching:
    """Count them, and name a few."""
    mine = manifest.ownership

    def common(other: Deployment) -> tuple[int, tuple[str, ...]]:
        both = (mine, other.ownership)
        return plan_reading.common(connection, head.organization, *both, head.groups, SAMPLE)

    devices, sample = common(manifest)
    shared = []
    for name, other in sorted(head.deployments.items()):
        is_other = other.component == manifest.component and name != manifest.name
        # Asking the store of each of some hundred Deployments would take long.
        if not is_other or not may_overlap(mine, other.ownership):
            continue
        n, few = common(other)
        if n:
            shared.append(Shared(name, other.is_api_made, n, few))
    updated = reach(connection, head, manifest, seen_after) if devices else 0
    return Matching(devices, sample, updated, tuple(shared))
