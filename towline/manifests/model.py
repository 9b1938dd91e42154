"""A manifest as frozen values: what the loader promises and every decision reads.

Short forms are expanded, durations are whole seconds, shares are whole percent. The "what" keys
make the revision; the rest is tuning (see the manual, section "Revision and run").
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from towline.schemas.windows import Window


class Operator(StrEnum):
    """How an expression of a filter compares a label."""

    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    DOES_NOT_EXIST = "DoesNotExist"


@dataclass(frozen=True, slots=True)
class Expression:
    """`{key, operator, values}` over one label."""

    key: str
    operator: Operator
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Ownership:
    """Which devices a Deployment or DeviceGroup owns; empty parts do not restrict."""

    device_types: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    labels: tuple[tuple[str, tuple[str, ...]], ...] = ()
    expressions: tuple[Expression, ...] = ()
    devices: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Eligibility:
    """What is asked once, when a device is selected."""

    current_version: str | None = None
    """A range as written: ">=2.0, !=2.4.1"."""
    status: str | None = None
    """"online" or "offline"."""
    requires: str | None = None


@dataclass(frozen=True, slots=True)
class Package:
    """One file to download."""

    urls: tuple[str, ...]
    """As written; one without a scheme lies under the server's /packages/."""
    sha256: str
    """64 hex digits, without the prefix."""
    format: str = "script"
    device_types: tuple[str, ...] = ()
    labels: tuple[tuple[str, tuple[str, ...]], ...] = ()

    @property
    def file_name(self) -> str:
        """The last part of the first URL's path: what the statement is named after."""
        return self.urls[0].split("?", 1)[0].rstrip("/").rsplit("/", 1)[-1]


@dataclass(frozen=True, slots=True)
class Install:
    """`spec.install`."""

    timeout_s: int = 600
    reboot: str = "never"


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """One check after the install; `probe` is {"http": …}, {"tcp": …} or {"script": …}."""

    name: str
    probe: dict[str, Any]
    delay_s: int = 0
    period_s: int = 5
    successes: int = 1
    timeout_s: int = 60

    def document(self) -> dict[str, Any]:
        """The check as it travels in a DesiredState."""
        return {
            "name": self.name,
            "delay": self.delay_s,
            "period": self.period_s,
            "successes": self.successes,
            "timeout": self.timeout_s,
            **self.probe,
        }


class SizeKind(StrEnum):
    """How large a batch is."""

    SHARE = "share"
    """So many percent of all targets are reached when this batch ends."""
    COUNT = "count"
    """So many devices."""
    REST = "rest"
    """Everything that is left."""


@dataclass(frozen=True, slots=True)
class BatchPlan:
    """One batch as the strategy lays it out, before devices are known."""

    name: str
    size: SizeKind
    amount: int = 0
    """Percent for SHARE (of the whole, cumulative), devices for COUNT, 0 for REST."""
    min_devices: int = 0
    ownership: Ownership | None = None
    """A batch with filters of its own takes its share of its own matches."""
    success_threshold: int = 95
    soak_s: int = 0
    is_alone: bool = False
    """safeMode's one device before all others."""
    needs_approval: bool = False
    """`approval: manual`: it passes only once a person said so."""


class StrategyKind(StrEnum):
    """The contract's `rollout_strategy`."""

    MANUAL = "manual"
    IMMEDIATE = "immediate"
    CANARY = "canary"
    ROLLING = "rolling"
    BATCHES = "batches"


class OnFailure(StrEnum):
    """What a failed gate does to its run."""

    PAUSE = "pause"
    ABORT = "abort"
    ROLLBACK = "rollback"


class StartMode(StrEnum):
    """How a pending run begins."""

    AUTOMATIC = "automatic"
    MANUAL = "manual"
    AT = "at"


@dataclass(frozen=True, slots=True)
class Start:
    """`spec.start`; `at` is seconds since the epoch, with StartMode.AT only."""

    mode: StartMode = StartMode.AUTOMATIC
    at: int | None = None


@dataclass(frozen=True, slots=True)
class Arm:
    """One side of an experiment, with defaults filled in from the Deployment."""

    name: str
    weight: int
    target_version: str
    packages: tuple[Package, ...]


@dataclass(frozen=True, slots=True)
class Budget:
    """`spec.disruptionBudget`: of the devices with one value of a label, so many may be away."""

    group_by: str
    amount: int
    is_share: bool = False
    """`amount` is percent of the group, rounded down, at least one device."""


@dataclass(frozen=True, slots=True)
class Analysis:
    """One figure asked between batches; it must hold `count` times in a row."""

    name: str
    url: str
    value: str
    """Where the figure stands in the JSON answer: keys and indexes joined by dots."""
    comparison: str
    """One of < <= > >= == !=."""
    bound: str
    """A decimal number as written."""
    interval_s: int
    count: int


API_LABEL = ("towline/api", "true")
"""The label of a manifest that a call of the API wrote."""


@dataclass(frozen=True, slots=True)
class Deployment:
    """One manifest in force."""

    name: str
    file: str
    """Path in the repository."""
    target_version: str
    packages: tuple[Package, ...]
    strategy: StrategyKind
    batches: tuple[BatchPlan, ...]
    """The strategy expanded; the last one is the rest, except with `manual` (the named)."""
    revision: str
    """SHA-256 of the canonical content, 64 hex digits."""
    canonical: str
    """The canonical JSON text that `revision` is the digest of."""
    component: str = "system"
    title: str = ""
    labels: tuple[tuple[str, str], ...] = ()
    release_notes: str = ""
    allow_downgrade: bool = False
    install: Install = field(default_factory=Install)
    health: tuple[HealthCheck, ...] = ()
    ownership: Ownership = field(default_factory=Ownership)
    eligibility: Eligibility = field(default_factory=Eligibility)
    rollout_percentage: int | None = None
    """The contract's column: canary's share or rolling's step, in percent."""
    order: str = "salted"
    success_threshold: int = 95
    on_failure: OnFailure = OnFailure.PAUSE
    device_timeout_s: int = 3600
    max_concurrent: int = 1000
    offline_after_s: int = 86400
    start: Start = field(default_factory=Start)
    paused: bool = False
    replaces: tuple[str, ...] = ()
    """Deployments that it takes devices over from without a conflict."""
    arms: tuple[Arm, ...] = ()
    """Of an experiment; empty without one."""
    rolls_back: bool = True
    """`rollback.automatic`: a device whose health check fails goes back by itself."""
    max_devices: int | None = None
    safe_mode: bool = False
    progress_deadline_s: int = 48 * 3600
    budget: Budget | None = None
    windows: tuple[Window, ...] = ()
    self_heal: bool = True
    analysis: tuple[Analysis, ...] = ()

    @property
    def is_api_made(self) -> bool:
        """True when a call of the API wrote it, not a person by hand."""
        return API_LABEL in self.labels


@dataclass(frozen=True, slots=True)
class DeviceGroup:
    """A named filter; groups do not nest."""

    name: str
    file: str
    ownership: Ownership


@dataclass(frozen=True, slots=True)
class DeviceEntry:
    """A device as a pull request: labels, and admission by its public key."""

    name: str
    file: str
    labels: tuple[tuple[str, str], ...] = ()
    public_key: str | None = None
    """"ed25519:<64 hex digits or base64>" as written."""
    device_type: str | None = None
    revoked: bool = False
