"""Where a Deployment is made or edited, when and by whom; and what was made."""

from dataclasses import dataclass
from uuid import UUID

from towline.manifests.model import Deployment
from towline.manifests.repository import Repository
from towline.manifests.writing import Signature
from towline.reconciler.head import Head
from towline.reconciler.store.engine import Store


@dataclass(frozen=True, slots=True)
class Site:
    """Where, when and by whom."""

    store: Store
    repository: Repository
    head: Head
    """What is in force."""
    author: Signature
    now: int
    seen_after: int
    means: str = "by a call of the API"
    """For the message of the commit."""
    on_branch: bool = False
    """A branch is wanted even where the Policy lets the commit go straight to the tracked one."""


@dataclass(frozen=True, slots=True)
class Created:
    """A Deployment that was made or edited."""

    id: UUID
    """Of the run that the reconciler begins, or has begun."""
    manifest: Deployment
    target_devices: int
    commit: str
    branch: str
    compare: str
    """Where the branch is looked at and merged; empty when nothing is to be merged."""
    takes_place_of: tuple[str, ...] = ()
