"""What the reconciler would do now for one Deployment: a pure function over a Snapshot.

`decide` returns the next step only; the loop observes again and asks until nothing but a Hold is
left. Plan, simulation and explanation are callers of the same function.
"""

from towline.manifests.expand import batch_size
from towline.manifests.model import BatchPlan, OnFailure, SizeKind, StartMode
from towline.reconciler.actions import (
    Action,
    AddHold,
    Admit,
    BeginRun,
    ChangeOffer,
    ClearHold,
    Defer,
    EndRun,
    Grant,
    Hold,
    MoveBatch,
    OpenBatch,
    Readmit,
    Release,
    StartRun,
    TimeOut,
    Withdraw,
)
from towline.reconciler.snapshot import BatchSeen, HoldSeen, RunSeen, Snapshot
from towline.reconciler.store.clocks import Lapse, Lapsed
from towline.reconciler.verdict import Judgement, judge
from towline.schemas.states import LIVE_RUNS, PASSED_BATCHES, BatchState, RunState

GRAVEST_FIRST = ("ThresholdNotMet", "NoEvidence", "PausedByUser", "PausedInGit")
"""Which hold is shown when there are several."""

RETURN_PLANS = (
    BatchPlan("first", SizeKind.COUNT, 1),
    BatchPlan("rest", SizeKind.REST),
)
"""A return: one device, then the rest, without soak."""


def decide(world: Snapshot) -> list[Action]:
    """The next step; an empty list, or one with nothing but a Hold, means: nothing to do now."""
    if steps := _follow_git(world):
        return steps
    if lapses := [_answer(lapsed, world) for lapsed in world.lapsed]:
        return lapses
    if world.run is None:
        return []
    if world.manifest is None:
        return [_look_again(world)]
    if world.is_offer_changed:
        return [ChangeOffer()]
    if world.run.status is RunState.COMPLETED:
        return _serve_latecomers(world)
    if world.run.status not in LIVE_RUNS:
        return [_look_again(world)]
    if changes := _change_holds(world):
        return changes
    if world.run.started_at is None:
        return _start(world, world.run)
    return _roll_out(world, world.run)


def _follow_git(world: Snapshot) -> list[Action]:
    """One period in which git wants a revision is one run."""
    manifest, run = world.manifest, world.run
    is_live = run is not None and run.status in LIVE_RUNS
    if manifest is None:
        return [EndRun(RunState.CANCELLED, "ManifestRemoved")] if is_live else []
    was_removed = run is not None and run.reason == "ManifestRemoved"
    if run is not None and run.revision == manifest.revision and not was_removed:
        is_final = run.status in (RunState.FAILED, RunState.CANCELLED)
        if is_final and world.is_retry_requested:
            return [BeginRun(world.history.turns, run.is_return, is_retry=True)]
        return []
    is_return = (
        world.history.was_completed
        and run is not None
        and run.revision != manifest.revision
        and not was_removed
    )
    ends: list[Action] = [EndRun(RunState.CANCELLED, "Superseded")] if is_live else []
    return [*ends, BeginRun(world.history.turns, is_return)]


def _look_again(world: Snapshot) -> Hold:
    """Nothing to say of the run itself; a device that still finishes may have a clock."""
    return Hold("", until=world.next_clock)


def _answer(lapsed: Lapsed, world: Snapshot) -> Action:
    """What a clock that ran out means for its device."""
    match lapsed.lapse:
        case Lapse.TIMED_OUT:
            return TimeOut(lapsed.run_seq, lapsed.device_seq)
        case Lapse.OFFLINE:
            return Defer(lapsed.run_seq, lapsed.device_seq)
        case Lapse.LEFT:
            return Release(lapsed.run_seq, lapsed.device_seq)
        case Lapse.RETURNED:
            return Readmit(lapsed.device_seq, lapsed.batch)
    batch = next((b for b in world.batches if b.number == lapsed.batch), None)
    if batch is not None and not batch.is_last:
        return Defer(lapsed.run_seq, lapsed.device_seq)
    return Withdraw(lapsed.run_seq, lapsed.device_seq)


def _change_holds(world: Snapshot) -> list[Action]:
    """Holds that git and time lay and lift by themselves."""
    held = {hold.reason for hold in world.holds}
    wants_pause = bool(world.manifest and world.manifest.paused and not world.is_resumed_over_git)
    steps: list[Action] = [
        ClearHold(hold.reason)
        for hold in world.holds
        if hold.until is not None and hold.until <= world.now
    ]
    if wants_pause and "PausedInGit" not in held:
        steps.append(AddHold("PausedInGit", "the manifest says `paused: true`", withdraws=True))
    if not wants_pause and "PausedInGit" in held:
        steps.append(ClearHold("PausedInGit"))
    return steps


def _waits(world: Snapshot) -> Hold:
    """The gravest hold, as what the run waits for."""
    gravest = min(world.holds, key=_gravity)
    return Hold(gravest.reason, gravest.message, gravest.until)


def _gravity(hold: HoldSeen) -> int:
    is_known = hold.reason in GRAVEST_FIRST
    return GRAVEST_FIRST.index(hold.reason) if is_known else len(GRAVEST_FIRST)


def _start(world: Snapshot, run: RunSeen) -> list[Action]:
    assert world.manifest is not None
    if world.holds:
        return [_waits(world)]
    if world.statement_problem:
        return [Hold("WaitingForStatement", world.statement_problem)]
    start = world.manifest.start
    if not (run.start_requested or run.is_return):
        if start.mode is StartMode.MANUAL:
            return [Hold("WaitingForStart", f"`towline start {world.deployment}` begins it")]
        if start.mode is StartMode.AT and start.at is not None and start.at > world.now:
            return [Hold("StartAt", until=start.at)]
    return [StartRun()]


def _roll_out(world: Snapshot, run: RunSeen) -> list[Action]:
    for passed in world.batches:
        if passed.state is BatchState.PASSED and _verdict(world, passed) is Judgement.FAILED:
            return [MoveBatch(passed.number, BatchState.FAILED, _threshold_message(passed))]
    batch, last = world.current_batch, world.last_batch
    if batch is None:
        is_over = last is not None and last.is_last
        return [EndRun(RunState.COMPLETED, "")] if is_over else _open_next(world, run)
    if batch.state is BatchState.FAILED:
        return _after_failure(world, batch)
    return _judge(world, batch)


def _open_next(world: Snapshot, run: RunSeen) -> list[Action]:
    """Open the next batch, or say which devices it waits for."""
    plan, fleet = world.next_plan, world.fleet
    if world.holds:
        return [_waits(world)]
    if plan is None or (run.is_return and fleet.matching + fleet.busy == 0):
        return [EndRun(RunState.COMPLETED, "")]
    if fleet.owned == 0:
        return [Hold("WaitingForDevices", "no device matches the filters yet")]
    number = len(world.batches)
    if plan.size is SizeKind.REST:
        if fleet.matching == 0 and fleet.busy:
            return [_wait_for_busy(world)]
        return [OpenBatch(number, plan, fleet.matching, is_last=True, only_seen=False)]
    size = batch_size(plan, targets_so_far=world.next_targets, matching=fleet.matching + fleet.busy)
    return _open_seen(world, run, plan, min(size, fleet.matching + fleet.busy))


def _open_seen(world: Snapshot, run: RunSeen, plan: BatchPlan, size: int) -> list[Action]:
    """A batch before the last takes only devices that were seen lately; it waits for enough."""
    assert world.manifest is not None
    number, seen = len(world.batches), world.fleet.seen
    if size <= seen:
        return [OpenBatch(number, plan, size, is_last=False, only_seen=True)]
    patience_ends = run.idle_since + world.manifest.offline_after_s
    if world.now < patience_ends:
        message = f"batch {plan.name} needs {size} devices, {seen} were seen lately"
        return [Hold("WaitingForDevices", message, patience_ends)]
    if seen:
        return [OpenBatch(number, plan, seen, is_last=False, only_seen=True)]
    message = f"no device for batch {plan.name} was seen lately"
    return [AddHold("NoEvidence", message, withdraws=False)]


def _wait_for_busy(world: Snapshot) -> Hold:
    message = f"{world.fleet.busy} devices finish another run first"
    return Hold("WaitingForDevices", message, world.next_clock)


def _judge(world: Snapshot, batch: BatchSeen) -> list[Action]:
    if not world.holds and (steps := _refill(world, batch)):
        return steps
    match _verdict(world, batch):
        case Judgement.FAILED:
            return [MoveBatch(batch.number, BatchState.FAILED, _threshold_message(batch))]
        case Judgement.NO_EVIDENCE:
            return _without_evidence(world, batch)
        case Judgement.PASSED:
            return _pass(world, batch)
    return _grant(world, batch)


def _verdict(world: Snapshot, batch: BatchSeen) -> Judgement:
    has_evidence = any(b.state in PASSED_BATCHES and b.tally.passed for b in world.batches)
    return judge(
        batch.tally,
        batch.success_threshold,
        batch.size,
        is_last=batch.is_last,
        has_evidence=has_evidence,
    )


def _refill(world: Snapshot, batch: BatchSeen) -> list[Action]:
    """Replace excused members; the last batch takes whatever still matches."""
    if batch.state is not BatchState.OPEN:
        return []
    if batch.is_last:
        matching = world.fleet.matching
        return [Admit(batch.number, matching, only_seen=False)] if matching else []
    missing = min(batch.size - batch.tally.members, world.fleet.seen)
    return [Admit(batch.number, missing, only_seen=True)] if missing > 0 else []


def _threshold_message(batch: BatchSeen) -> str:
    tally = batch.tally
    return (
        f"batch {batch.name}: {tally.failed} of {tally.verdicts} verdicts failed,"
        f" {batch.success_threshold} % must pass"
    )


def _without_evidence(world: Snapshot, batch: BatchSeen) -> list[Action]:
    if any(hold.reason == "NoEvidence" for hold in world.holds):
        return [_waits(world)]
    message = f"batch {batch.name}: {batch.tally.verdicts} of {batch.size} devices gave a verdict"
    return [AddHold("NoEvidence", message, withdraws=False)]


def _pass(world: Snapshot, batch: BatchSeen) -> list[Action]:
    if world.holds:
        return [_waits(world)]
    if batch.is_last:
        if world.fleet.busy:
            return [_wait_for_busy(world)]
        return [MoveBatch(batch.number, BatchState.PASSED)]
    soaked_at = (batch.last_verdict_at or batch.opened_at) + batch.soak_s
    if batch.soak_s == 0 or batch.size == 0 or soaked_at <= world.now:
        return [MoveBatch(batch.number, BatchState.PASSED)]
    if batch.state is BatchState.OPEN:
        return [MoveBatch(batch.number, BatchState.SOAKING)]
    return [Hold("Soaking", f"batch {batch.name}", soaked_at)]


def _grant(world: Snapshot, batch: BatchSeen) -> list[Action]:
    assert world.manifest is not None
    if world.holds:
        return [_waits(world)]
    free = world.manifest.max_concurrent - world.in_flight
    if free > 0 and world.grantable:
        return [Grant(world.grantable[:free])]
    message = f"batch {batch.number + 1} of {world.batch_total}"
    return [Hold("RollingOut", message, world.next_clock)]


def _after_failure(world: Snapshot, batch: BatchSeen) -> list[Action]:
    """Paused while untouched devices are left, else failed once all grants have their verdict."""
    assert world.manifest is not None
    message = _threshold_message(batch)
    if world.manifest.on_failure is OnFailure.ABORT:
        return [EndRun(RunState.FAILED, "Aborted", message)]
    waiting = sum(each.tally.waiting for each in world.batches)
    untouched = waiting + world.fleet.matching + world.fleet.busy
    if untouched:
        if any(hold.reason == "ThresholdNotMet" for hold in world.holds):
            return [_waits(world)]
        return [AddHold("ThresholdNotMet", message, withdraws=False)]
    if world.in_flight:
        return [Hold("Draining", f"{world.in_flight} devices finish", world.next_clock)]
    return [EndRun(RunState.FAILED, "ThresholdNotMet", message)]


def _serve_latecomers(world: Snapshot) -> list[Action]:
    """After completion: joiners and deferred devices that are back, within maxConcurrent."""
    assert world.manifest is not None
    is_paused_in_git = world.manifest.paused and not world.is_resumed_over_git
    if is_paused_in_git or any(hold.reason == "PausedByUser" for hold in world.holds):
        return [_look_again(world)]
    free = world.manifest.max_concurrent - world.in_flight
    if free > 0 and world.grantable:
        return [Grant(world.grantable[:free])]
    admissible = min(world.fleet.seen, free)
    if admissible > 0 and world.last_batch is not None:
        return [Admit(world.last_batch.number, admissible, only_seen=True)]
    return [_look_again(world)]
