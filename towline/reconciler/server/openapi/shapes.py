"""The shapes of answers about Deployments; they describe, and are not in the way of an answer."""

from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from towline.schemas.states import RunState, TargetState

Time = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
"""RFC 3339 in UTC."""
Uuid = Annotated[str, Field(json_schema_extra={"format": "uuid"})]
Counts = dict[TargetState, int]
"""Devices by state; a state that none is in may be left out."""


class Shape(BaseModel):
    """An object with these keys and no other."""

    model_config = ConfigDict(extra="forbid")


class Strategy(StrEnum):
    """How a rollout goes on; `batches` is of manifests only."""

    MANUAL = "manual"
    IMMEDIATE = "immediate"
    CANARY = "canary"
    ROLLING = "rolling"
    BATCHES = "batches"


class Health(StrEnum):
    """One word for a run."""

    HEALTHY = "healthy"
    PROGRESSING = "progressing"
    DEGRADED = "degraded"
    PAUSED = "paused"
    FAILED = "failed"
    UNKNOWN = "unknown"


class Hold(Shape):
    """What keeps a run from going on, and who clears it."""

    reason: str
    message: str
    author: str
    since: Time
    until: Time | None
    clearedBy: str


class Arm(Shape):
    """One side of an experiment."""

    arm: str | None
    counts: Counts
    medianSeconds: int | None


class Batch(Shape):
    """A batch that was opened, or (waiting) is still to come."""

    number: int
    name: str
    state: str
    size: int | None
    plannedSize: str = ""
    isAlone: bool
    isLast: bool
    successThreshold: int
    soak: int
    openedAt: Time | None
    lastVerdictAt: Time | None
    soakedAt: Time | None
    endedAt: Time | None
    counts: Counts
    waitsFor: str
    arms: list[Arm] = []
    medianSeconds: int | None = None


class Deployment(Shape):
    """A run as lists show it: the contract's keys, and ours."""

    deployment_id: Uuid
    deployment_name: str
    target_version: str
    rollout_strategy: Strategy
    status: RunState
    progress_percentage: float
    total_devices: int
    completed_devices: int
    failed_devices: int
    created_at: Time
    started_at: Time | None
    name: str
    id: Uuid
    component: str
    targetVersion: str
    strategy: Strategy
    revision: str
    turn: int
    isReturn: bool
    reason: str
    message: str
    reasons: list[str]
    holds: list[Hold]
    commit: str
    author: str
    startedAt: Time | None
    nextDue: Time | None
    goesBack: str
    counts: Counts
    batches: list[Batch]
    drifted: int
    health: Health
    branch: str = ""
    compare: str = ""


class Pagination(Shape):
    """Which page of how many."""

    page: int
    page_size: int
    total_count: int
    total_pages: int


class DeploymentList(Shape):
    """One page."""

    deployments: list[Deployment]
    pagination: Pagination


class Metadata(Shape):
    """What is delivered."""

    update_package_url: str
    checksum: str
    release_notes: str
    filters: Any = None


class Progress(Shape):
    """Five figures that sum to the total, and the share that completed."""

    total_devices: int
    completed: int
    failed: int
    in_progress: int
    pending: int
    skipped: int
    percentage: float


class Target(Shape):
    """One device of a run: the contract's keys, and ours."""

    device_id: str
    device_name: str
    current_version: str | None
    status: TargetState
    started_at: Time | None
    completed_at: Time | None
    error_message: str | None
    reason: str
    batch: int
    attempt: int
    arm: str | None
    waits: str
    granted_at: Time | None
    progress: int | None
    from_version: str | None
    verified_at: Time | None


class Silent(Shape):
    """A device that holds a grant and was not heard of lately."""

    device_id: str
    lastSeen: Time | None
    status: TargetState
    reason: str
    version: str | None
    attempt: int
    grantedAt: Time | None
    goesBack: bool


class DeploymentDetail(Deployment):
    """One run in full."""

    completed_at: Time | None
    rollout_percentage: int | None
    metadata: Metadata
    progress: Progress
    status_breakdown: dict[TargetState, int]
    devices: list[Target]
    next_cursor: int | None
    arms: list[Arm]
    medianSeconds: int | None
    silent: list[Silent]


class TargetList(Shape):
    """One part of a run's devices."""

    devices: list[Target]
    next_cursor: int | None


class BatchList(Shape):
    """All batches of a run, opened or to come."""

    batches: list[Batch]


class Created(Shape):
    """What became of the call that makes a Deployment."""

    deployment_id: Uuid
    deployment_name: str
    target_version: str
    target_devices: int
    rollout_strategy: Strategy
    status: RunState
    created_at: Time
    name: str
    commit: str
    replaces: list[str]
    takes_place_of: list[str]
    branch: str = ""
    compare: str = ""


class Fates(Shape):
    """How many devices a verb touches, and how."""

    model_config = ConfigDict(extra="allow")


class Acted(Shape):
    """The run's state after a verb, and what became of its devices."""

    deployment_id: Uuid
    status: RunState
    reason: str
    message: str
    holds: list[Hold]
    did: str
    devices: Fates


class Done(Shape):
    """An act on a device was carried out."""

    status: str
    message: str


class Decision(Shape):
    """What is decided now, in words and as the names of the actions."""

    text: str
    actions: list[str]


class DeploymentStory(Shape):
    """A Deployment in words; `text` is the whole story."""

    deployment: str
    id: Uuid
    status: RunState
    health: Health
    reason: str
    message: str
    commit: str
    author: str
    subject: str
    decision: Decision
    holds: list[Hold]
    batches: list[Batch]
    silent: list[Silent]
    deadlines: list[dict[str, Any]]
    limits: dict[str, int]
    stallsAt: Time | None
    needs: str
    text: str
    opens: list[Time] = []
    lastAct: dict[str, Any] | None = None
