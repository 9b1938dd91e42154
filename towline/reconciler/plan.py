"""What a merge would do, as values: per Deployment and in all, without a row per device.

`document()` is the published form (docs/plan.md): what the API, `-o json` and the other outputs of
`towline plan` are made of. Times are RFC 3339 in UTC, lengths seconds, sizes bytes.
"""

from dataclasses import dataclass, fields, is_dataclass
from enum import StrEnum
from typing import Any

NAMES_LIMIT = 1000
"""More names of one list are only counted."""


class Change(StrEnum):
    """What a commit does to a Deployment."""

    ADD = "add"
    CHANGE = "change"
    RETURN = "return"
    """The revision before comes back: no soak, no approval."""
    REMOVE = "remove"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Names:
    """Ids of devices, cut to NAMES_LIMIT."""

    shown: tuple[str, ...]
    left: int = 0
    """How many more there are."""


@dataclass(frozen=True, slots=True)
class KeyChange:
    """One key of a manifest that differs; None where a value is too long to be shown."""

    key: str
    before: str | None = None
    after: str | None = None


@dataclass(frozen=True, slots=True)
class PlannedBatch:
    """One batch as it would be opened."""

    number: int
    """Counts from 1."""
    name: str
    devices: int
    offline: int
    """Of them: not seen lately. They are waited for, then deferred."""
    is_last: bool
    was_open: bool
    """It was opened before this commit."""
    success_threshold: int
    soak: int
    needs_approval: bool = False
    """A person has to approve what comes after it."""
    names: Names | None = None


@dataclass(frozen=True, slots=True)
class PlannedSkip:
    """Devices that would be skipped for one reason."""

    reason: str
    devices: int
    names: Names | None = None


@dataclass(frozen=True, slots=True)
class VersionMove:
    """Devices that would go from one version to another; None: nothing is installed."""

    before: str | None
    after: str
    devices: int


@dataclass(frozen=True, slots=True)
class NoWayBack:
    """Devices that could not be sent back: FirstInstall, or NoRelease of what they run."""

    reason: str
    version: str | None
    devices: int


@dataclass(frozen=True, slots=True)
class Said:
    """A reason or code in one word, and what it means here."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Openings:
    """When installs may start, by windows and freezes: on the first device and on the last."""

    first: str | None
    last: str | None


@dataclass(frozen=True, slots=True)
class Estimate:
    """How long it would take when all goes well, from installs of the past."""

    seconds: int
    device_seconds: int
    """Median from grant to verification."""
    installs: int
    """How many installs it is taken from."""


@dataclass(frozen=True, slots=True)
class DeploymentPlan:
    """What would become of one Deployment."""

    name: str
    change: Change
    component: str
    file: str
    version_before: str | None
    version_after: str | None
    revision_before: str | None
    revision_after: str | None
    strategy: str | None = None
    keys: tuple[KeyChange, ...] = ()
    devices: int = 0
    """To be updated."""
    bytes: int = 0
    """To be downloaded, all devices together."""
    kept: int = 0
    """Devices that have the release lying by and download nothing."""
    batches: tuple[PlannedBatch, ...] = ()
    skipped: tuple[PlannedSkip, ...] = ()
    versions: tuple[VersionMove, ...] = ()
    no_way_back: tuple[NoWayBack, ...] = ()
    openings: Openings | None = None
    waits_for: tuple[Said, ...] = ()
    """What a person or a clock must give before it goes on."""
    ends_as: str = ""
    """Status of the run at the end of the rehearsal."""
    estimate: Estimate | None = None
    errors: tuple[Said, ...] = ()
    warnings: tuple[Said, ...] = ()

    @property
    def skips(self) -> int:
        """Devices that would be skipped."""
        return sum(each.devices for each in self.skipped)


@dataclass(frozen=True, slots=True)
class Plan:
    """What the merge of a commit would do."""

    organization: str
    source: str
    """server, store or inventory."""
    base: str | None
    head: str
    """Commits; `worktree` for what is not committed."""
    made_at: str
    deployments: tuple[DeploymentPlan, ...]
    errors: tuple[Said, ...] = ()
    warnings: tuple[Said, ...] = ()

    @property
    def has_errors(self) -> bool:
        """The merge should not happen as it is."""
        return bool(self.errors) or any(each.errors for each in self.deployments)

    @property
    def has_changes(self) -> bool:
        """There is something to do."""
        return any(each.change is not Change.NONE for each in self.deployments)

    def document(self) -> dict[str, Any]:
        """The published form."""
        return {
            "apiVersion": "towline/v1",
            "kind": "Plan",
            **_document(self),
            "summary": self._summary(),
        }

    def _summary(self) -> dict[str, Any]:
        def count(*changes: Change) -> int:
            return sum(each.change in changes for each in self.deployments)

        changed = [each for each in self.deployments if each.change is not Change.NONE]
        return {
            "add": count(Change.ADD),
            "change": count(Change.CHANGE, Change.RETURN),
            "remove": count(Change.REMOVE),
            "unchanged": count(Change.NONE),
            "devices": sum(each.devices for each in changed),
            "bytes": sum(each.bytes for each in changed),
            "skipped": sum(each.skips for each in changed),
            "hasErrors": self.has_errors,
            "hasChanges": self.has_changes,
        }


def _document(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return {
            _camel(field.name): _document(getattr(value, field.name)) for field in fields(value)
        }
    return [_document(each) for each in value] if isinstance(value, tuple) else value


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)
