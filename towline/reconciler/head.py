"""What git wants at the commit in force: the reconciler's read-only view of the repository."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from towline.manifests.model import Deployment, DeviceEntry, DeviceGroup
from towline.manifests.model_policy import Freeze, Policy
from towline.schemas.root import Root


@dataclass(frozen=True, slots=True)
class CommitSeen:
    """One commit."""

    sha: str
    author_name: str = ""
    author_email: str = ""
    subject: str = ""
    time: int = 0
    """Of the committer, seconds since the epoch; 0: not known."""

    @property
    def author(self) -> str:
        """`Name <address>`."""
        return f"{self.author_name} <{self.author_email}>"


@dataclass(frozen=True, slots=True)
class Head:
    """Everything that the commit in force says, broken Deployments in their last good form."""

    organization: str
    commit: CommitSeen
    root: Root
    roots: tuple[bytes, ...] = ()
    """The signed roots, version 1 first."""
    deployments: Mapping[str, Deployment] = field(default_factory=dict)
    groups: Mapping[str, DeviceGroup] = field(default_factory=dict)
    devices: Mapping[str, DeviceEntry] = field(default_factory=dict)
    policies: Mapping[str, Policy] = field(default_factory=dict)
    freezes: Mapping[str, Freeze] = field(default_factory=dict)
    statements: Mapping[str, bytes] = field(default_factory=dict)
    """Signed statements by their path."""
