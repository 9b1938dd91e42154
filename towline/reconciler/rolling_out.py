"""A run that rolls out: the next batch is opened, its devices granted, and it is left. Pure."""

from towline.manifests.expand import batch_size
from towline.manifests.model import BatchPlan, Deployment, SizeKind
from towline.reconciler.actions import (
    Action,
    Admit,
    EndRun,
    FillUp,
    Grant,
    Hold,
    MoveBatch,
    OpenBatch,
)
from towline.reconciler.gates import after_failure, leave, threshold_message, verdict
from towline.reconciler.holding import hold, waits
from towline.reconciler.lengths import counted
from towline.reconciler.snapshot import BatchSeen, RunSeen, Snapshot
from towline.reconciler.verdict import Judgement
from towline.schemas.states import BatchState, RunState

REPLACEMENTS = 3
"""How often safeMode's one device is replaced."""


def roll_out(world: Snapshot, manifest: Deployment, run: RunSeen) -> list[Action]:
    """The next step of a run that has begun."""
    for passed in world.batches:
        if passed.state is BatchState.PASSED and verdict(world, passed) is Judgement.FAILED:
            return [MoveBatch(passed.number, BatchState.FAILED, threshold_message(passed))]
    batch, last = world.current_batch, world.last_batch
    if batch is None:
        if last is None or not last.is_last:
            return _open_next(world, manifest, run)
        # Who paused meanwhile finds the run as it was: a completed one could not be resumed.
        return [waits(world)] if world.holds else [EndRun(RunState.COMPLETED, "")]
    if batch.state is BatchState.FAILED:
        return after_failure(world, manifest, batch)
    return _judge(world, manifest, run, batch)


def _open_next(world: Snapshot, manifest: Deployment, run: RunSeen) -> list[Action]:
    """Open the next batch, or say which devices it waits for."""
    plan, fleet = world.next_plan, world.fleet
    if world.holds:
        return [waits(world)]
    if plan is None or (run.is_return and fleet.matching + fleet.busy == 0):
        return [EndRun(RunState.COMPLETED, "")]
    if world.rules.policy_problem and not run.is_return:
        return hold(world, "PolicyViolated", world.rules.policy_problem)
    if not fleet.is_owner:
        return [Hold("WaitingForDevices", "no device matches the filters yet")]
    number = len(world.batches)
    if plan.size is SizeKind.REST:
        if fleet.matching == 0 and fleet.busy:
            return [_wait_for_busy(world)]
        return [OpenBatch(number, plan, fleet.matching, is_last=True, only_seen=False)]
    size = batch_size(plan, targets_so_far=world.next_targets, matching=fleet.matching + fleet.busy)
    return _open_seen(world, manifest, run, plan, min(size, fleet.matching + fleet.busy))


def _open_seen(
    world: Snapshot, manifest: Deployment, run: RunSeen, plan: BatchPlan, size: int
) -> list[Action]:
    """A batch before the last takes only devices that were seen lately; it waits for enough."""
    number, seen = len(world.batches), world.fleet.seen
    if size <= seen:
        return [OpenBatch(number, plan, size, is_last=False, only_seen=True)]
    patience_ends = run.idle_since + manifest.offline_after_s
    if world.now < patience_ends:
        message = f"batch {plan.name} needs {counted(size, 'device')}, seen lately: {seen}"
        return [Hold("WaitingForDevices", message, patience_ends)]
    if seen:
        return [OpenBatch(number, plan, seen, is_last=False, only_seen=True)]
    return hold(world, "NoEvidence", f"no device for batch {plan.name} was seen lately")


def _wait_for_busy(world: Snapshot) -> Hold:
    message = f"{counted(world.fleet.busy, 'device')} finishing another run first"
    return Hold("WaitingForDevices", message, world.next_clock)


def _judge(world: Snapshot, manifest: Deployment, run: RunSeen, batch: BatchSeen) -> list[Action]:
    if batch.is_filling:  # The few that are in it by now say nothing of it.
        return [waits(world)] if world.holds else [FillUp(batch.number)]
    if not world.holds and (steps := _refill(world, batch)):
        return steps
    match verdict(world, batch):
        case Judgement.FAILED:
            return [MoveBatch(batch.number, BatchState.FAILED, threshold_message(batch))]
        case Judgement.NO_EVIDENCE:
            tally = batch.tally
            message = f"batch {batch.name}: {tally.verdicts} of {batch.size} gave a verdict"
            return hold(world, "NoEvidence", message)
        case Judgement.PASSED if batch.is_last and world.fleet.busy and not world.holds:
            return [_wait_for_busy(world)]
        case Judgement.PASSED:
            return leave(world, manifest, run, batch)
    return _grant(world, manifest, batch)


def _refill(world: Snapshot, batch: BatchSeen) -> list[Action]:
    """Replace excused members; the last batch takes whatever still matches."""
    if batch.state is not BatchState.OPEN:
        return []
    if batch.is_last:
        matching = world.fleet.matching
        return [Admit(batch.number, matching, only_seen=False)] if matching else []
    if batch.is_alone and batch.tally.excused > REPLACEMENTS:
        return []
    missing = min(batch.size - batch.tally.members, world.fleet.seen)
    return [Admit(batch.number, missing, only_seen=True)] if missing > 0 else []


def _grant(world: Snapshot, manifest: Deployment, batch: BatchSeen) -> list[Action]:
    if world.holds:
        return [waits(world)]
    if devices := free_slots(world, manifest):
        return [Grant(devices)]
    slots, reason = world.slots, "RollingOut"
    message = f"batch {batch.number + 1} of {world.batch_total}"
    waiting, preparing = counted(slots.waiting, "device"), counted(slots.preparing, "device")
    if slots.waiting and slots.waiting == slots.in_flight:
        reason, message = "WaitingForWindow", f"{message}: {waiting} waiting"
    elif slots.budget_blocked and not slots.preparing:
        reason, message = "BudgetFull", f"{message}: no group has a device to spare"
    elif slots.preparing and not slots.in_flight:
        reason, message = "Preparing", f"{message}: {preparing} downloading"
    return [Hold(reason, message, world.next_clock)]


def free_slots(world: Snapshot, manifest: Deployment) -> tuple[int, ...]:
    """The devices to be granted now, within maxConcurrent."""
    free = manifest.max_concurrent - world.slots.in_flight
    return world.slots.grantable[: max(0, free)]
