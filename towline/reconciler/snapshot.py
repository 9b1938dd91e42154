"""What one decision sees of one Deployment: plain frozen values, the time included.

Counts per batch and state and the next candidates, never a row per device, so that a pass costs
what changed and not what exists.
"""

from dataclasses import dataclass
from uuid import UUID

from towline.manifests.model import BatchPlan, Deployment
from towline.reconciler.store.clocks import Lapsed
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


@dataclass(frozen=True, slots=True)
class HoldSeen:
    """One hold in force."""

    reason: str
    message: str
    since: int
    until: int | None = None


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


@dataclass(frozen=True, slots=True)
class FleetSeen:
    """The devices that the run may still take."""

    owned: int = 0
    matching: int = 0
    """Owned, eligible, in need of the release and not in the run; free now."""
    seen: int = 0
    """Of `matching`: seen within three poll intervals."""
    busy: int = 0
    """Would match, but finish another run of the component first."""


@dataclass(frozen=True, slots=True)
class History:
    """What is known of the wanted revision in this Deployment."""

    turns: int = 0
    """Runs of the wanted revision so far."""
    was_completed: bool = False
    """At least one device completed it in this Deployment."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything that `decide` may look at."""

    now: int
    deployment: str
    manifest: Deployment | None
    """The manifest in force; None when git no longer has it."""
    run: RunSeen | None = None
    history: History = History()
    statement_problem: str = ""
    """What is missing or differs; empty when a fitting statement is there."""
    is_offer_changed: bool = False
    """A commit changed what is tuning of the offer: URLs, deviceTimeout."""
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
    grantable: tuple[int, ...] = ()
    """Next devices to grant, in order: selected, seen lately, not busy elsewhere."""
    in_flight: int = 0
    """Granted and without a verdict, over all runs of the Deployment."""
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
