"""What restricts Deployments beside their own manifests: Freezes and Policies."""

from dataclasses import dataclass

from towline.manifests.model import Ownership
from towline.schemas.windows import Window


@dataclass(frozen=True, slots=True)
class Freeze:
    """Days on which nothing is installed on some devices."""

    name: str
    file: str
    windows: tuple[Window, ...]
    ownership: Ownership
    reason: str


@dataclass(frozen=True, slots=True)
class Approvals:
    """Runs of more than so many devices need so many distinct operators."""

    above_devices: int
    count: int


@dataclass(frozen=True, slots=True)
class MinSoak:
    """The least soak where a device with one of these labels takes part."""

    labels: tuple[tuple[str, str], ...]
    soak_s: int


@dataclass(frozen=True, slots=True)
class Policy:
    """What no manifest below its folder may exceed; the strictest of several holds."""

    name: str = ""
    file: str = ""
    package_hosts: tuple[str, ...] = ()
    max_devices: int | None = None
    max_share_first_batch: int | None = None
    min_soak: tuple[MinSoak, ...] = ()
    allow_strategies: tuple[str, ...] = ()
    """Empty: all."""
    max_removed: int = 50
    """Percent of the Deployments in one commit."""
    stale_plan: int = 10
    """Percent of targets above the recorded plan."""
    api_commits: str = "branch"
    approvals: tuple[Approvals, ...] = ()
    stale_git_alert_s: int = 15 * 60
    stale_git_hold_s: int = 24 * 3600
