"""Two Deployments that own one component of one device: an error, unless one replaces the other."""

from collections.abc import Callable, Collection
from itertools import combinations

from sqlalchemy import Connection

from towline.manifests.model import Deployment, Ownership
from towline.reconciler.head import Head
from towline.reconciler.plan import Said
from towline.reconciler.store import plan_reading

NAMES_SHOWN = 5


def conflicts(
    connection: Connection,
    head: Head,
    changed: Collection[str],
    *,
    everything: bool,
    go_on: Callable[[], None] = lambda: None,
) -> dict[str, tuple[Said, ...]]:
    """By Deployment, those that it is in conflict with.

    Asked of the pairs in which one of `changed` takes part, or of `everything`. `go_on` is called
    for each pair and may raise.
    """
    found: dict[str, list[Said]] = {}
    # Each pair of filters once: hundreds of Deployments may say the same.
    known: dict[frozenset[Ownership], tuple[int, tuple[str, ...]]] = {}
    for one, other in combinations(sorted(head.deployments.values(), key=_name), 2):
        is_asked = everything or one.name in changed or other.name in changed
        if not is_asked or not _may_clash(one, other):
            continue
        go_on()
        pair = frozenset({one.ownership, other.ownership})
        if pair not in known:
            known[pair] = plan_reading.common(
                connection,
                head.organization,
                one.ownership,
                other.ownership,
                head.groups,
                NAMES_SHOWN,
            )
        devices, names = known[pair]
        if devices:
            for mine, theirs in ((one, other), (other, one)):
                said = Said("Conflict", _words(theirs, devices, names))
                found.setdefault(mine.name, []).append(said)
    return {name: tuple(said) for name, said in found.items()}


def _name(manifest: Deployment) -> str:
    return manifest.name


def _may_clash(one: Deployment, other: Deployment) -> bool:
    is_replaced = other.name in one.replaces or one.name in other.replaces
    return one.component == other.component and not is_replaced


def _words(other: Deployment, devices: int, names: Collection[str]) -> str:
    more = f" and {devices - len(names)} more" if devices > len(names) else ""
    return (
        f"{other.name} owns component {other.component} of the same {devices} devices:"
        f" {', '.join(names)}{more}; narrow one of the filters, or name it in metadata.replaces"
    )
