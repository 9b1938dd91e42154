"""What one decision sees of one Deployment: plain frozen values, the time included.

Counts per batch and state and the next candidates, never a row per device, so that a pass costs
what changed and not what exists.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from uuid import UUID

from towline.manifests.model import BatchPlan, Deployment
from towline.reconciler.store.clocks import Lapsed
from towline.reconciler.store.silence import NOBODY, Silence
from towline.reconciler.verdict import Tally
from towline.schemas.states import PASSED_BATCHES, BatchState, RunState


@dataclass(frozen=True, slots=True)
class RunSeen:
    """The Deployment's newest run."""

    seq: int
    id: UUID
    revision: str
    status: RunState
    reason: str
    is_return: bool
    start_requested: bool
    created_at: int
    started_at: int | None
    idle_since: int
    """When the run last began to wait for devices: its start or its last batch's end."""
    goes_back: str = ""
    """Why it is rolled back: RolledBackByUser or RolledBackByPolicy; empty when it is not."""
    is_let_go: bool = False
    """It had ended when git ceased to want it."""


@dataclass(frozen=True, slots=True)
class HoldSeen:
    """One hold in force."""

    reason: str
    message: str
    since: int
    until: int | None = None


class Figures(StrEnum):
    """What the figures asked after a batch say together."""

    NONE = "none"
    """Nothing is to be asked."""
    ASKING = "asking"
    PASSED = "passed"
    FAILED = "failed"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, slots=True)
class AnalysisSeen:
    """The analysis of the batch at hand."""

    figures: Figures = Figures.NONE
    message: str = ""
    next_ask_at: int | None = None


@dataclass(frozen=True, slots=True)
class BatchSeen:
    """One batch that was opened."""

    number: int
    name: str
    is_last: bool
    state: BatchState
    size: int
    success_threshold: int
    soak_s: int
    opened_at: int
    last_verdict_at: int | None
    tally: Tally
    arms: tuple[Tally, ...] = ()
    """The same members by the arms of an experiment; empty without one."""
    is_alone: bool = False
    """safeMode's one device before all others."""
    analysis_from: int | None = None
    """Since when its figures are asked."""
    needs_approval: bool = False
    is_filling: bool = False
    """It is the last one, and large: its devices are still being selected, part by part."""


@dataclass(frozen=True, slots=True)
class FleetSeen:
    """The devices that the run may still take."""

    is_owner: bool = False
    """The filters own a device, in the run or not."""
    matching: int = 0
    """Owned, eligible, in need of the release and not in the run; free now."""
    seen: int = 0
    """Of `matching`: seen within three poll intervals."""
    busy: int = 0
    """Would match, but finish another run of the component first."""
    left: int = 0
    """Matching and busy ones of the whole Deployment, whatever the batch's own filters say."""
    is_settled: bool = False
    """Nobody is left, and only a device that changes can be one to take."""


@dataclass(frozen=True, slots=True)
class History:
    """What is known of the wanted revision in this Deployment."""

    turns: int = 0
    """Runs of the wanted revision so far."""
    was_completed: bool = False
    """At least one device completed it in this Deployment."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What people beside the manifest demand or have granted: Policy, approvals, git's health."""

    policy_problem: str = ""
    """What the Policy or maxDevices forbids; empty when it obeys."""
    approvals_needed: int = 0
    """Distinct operators that must agree to the start."""
    start_approvals: int = 0
    """Those who did, the author not counted."""
    approvals_lapse_at: int | None = None
    """When the first of them lapses."""
    batch_approvals: frozenset[int] = frozenset()
    """Batches that a person approved."""
    figures_approved: frozenset[int] = frozenset()
    """Batches whose inconclusive figures a person approved."""
    is_plan_approved: bool = False
    plan_excess: str = ""
    """How far the targets are above the recorded plan; empty when they are not."""
    is_git_stale: bool = False


@dataclass(frozen=True, slots=True)
class Slots:
    """Devices that may be granted now, and what keeps others from it."""

    grantable: tuple[int, ...] = ()
    """In order: staged, seen lately, not busy elsewhere, within the budget; at most the free
    slots."""
    in_flight: int = 0
    """Granted and without a verdict, over all runs of the Deployment."""
    budget_blocked: bool = False
    """Others would be granted, but their group has no device to spare."""
    preparing: int = 0
    """Selected in this run and not staged yet."""
    waiting: int = 0
    """Granted, and the device says that it waits for a window or a lock."""
    stalled_since: int | None = None
    """Since when there was no verdict while a device that is online holds a grant; None when
    none does."""


@dataclass(frozen=True, slots=True)
class Aftercare:
    """After completion: who joined late or drifted, and how healing goes."""

    drifted: tuple[int, ...] = ()
    """Devices that may be healed now."""
    looping: tuple[int, ...] = ()
    """Devices that were healed too often."""
    served_within_hour: int = 0
    """Latecomers and heals of the last hour, or since a person approved more."""
    limit: int = 10
    recent: Tally = field(default_factory=Tally)
    """The last 20 verdicts, or those since a person approved more."""
    next_heal_at: int | None = None
    """When a drifted device that was healed today may be healed again."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything that `decide` may look at."""

    now: int
    deployment: str
    manifest: Deployment | None
    """The manifest in force; None when git no longer has it."""
    run: RunSeen | None = None
    history: History = History()
    rules: Rules = Rules()
    statement_problem: str = ""
    """What is missing or differs; empty when a fitting statement is there."""
    is_offer_changed: bool = False
    """A commit changed what is tuning of the offer: URLs, deviceTimeout, windows."""
    is_retry_requested: bool = False
    """A person asked for the next run of a revision whose run is final."""
    is_resumed_over_git: bool = False
    """A person's `resume` stands over `paused: true`."""
    holds: tuple[HoldSeen, ...] = ()
    batches: tuple[BatchSeen, ...] = ()
    next_plan: BatchPlan | None = None
    """The batch to be opened next; None when the last one was opened."""
    batch_total: int = 1
    """Opened batches and those still planned."""
    next_targets: int = 0
    """Targets so far that count for the next batch's goal."""
    fleet: FleetSeen = FleetSeen()
    """For the next batch's filters, or for the open one."""
    lapsed: tuple[Lapsed, ...] = ()
    slots: Slots = Slots()
    analysis: AnalysisSeen = AnalysisSeen()
    """Of the current batch."""
    to_send_back: tuple[int, ...] = ()
    """Of a run that is rolled back: completed devices that were not sent back yet."""
    going_back: int = 0
    """Devices on their way back, granted or not."""
    aftercare: Aftercare = Aftercare()
    is_swept: bool = False
    """Who of the last batch is silent for offline.after was asked this time."""
    is_rechecked: bool = False
    """Who left the filters was."""
    silence: Silence = NOBODY
    """Of those who wait before the last batch."""
    next_clock: int | None = None
    """The next time at which a device's clock runs out."""

    @property
    def current_batch(self) -> BatchSeen | None:
        """The first opened batch that is not over: a regression reopens an earlier one."""
        return next((b for b in self.batches if b.state not in PASSED_BATCHES), None)

    @property
    def last_batch(self) -> BatchSeen | None:
        """The batch that was opened last."""
        return self.batches[-1] if self.batches else None

    @property
    def held(self) -> frozenset[str]:
        """The reasons of the holds in force."""
        return frozenset(hold.reason for hold in self.holds)
