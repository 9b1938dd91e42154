"""A batch's gates: threshold, soak, figures, approval; and what follows a failed one. Pure."""

from towline.manifests.model import Deployment, OnFailure
from towline.reconciler.actions import Action, BeginAnalysis, EndRun, GoBack, Hold, MoveBatch
from towline.reconciler.holding import hold, waits
from towline.reconciler.lengths import counted
from towline.reconciler.snapshot import BatchSeen, Figures, RunSeen, Snapshot
from towline.reconciler.verdict import Judgement, judge
from towline.schemas.states import PASSED_BATCHES, BatchState, RunState


def verdict(world: Snapshot, batch: BatchSeen) -> Judgement:
    """What the members' verdicts say of a batch; each arm has its own threshold."""
    has_evidence = any(b.state in PASSED_BATCHES and b.tally.passed for b in world.batches)
    return judge(
        batch.tally,
        batch.success_threshold,
        batch.size,
        is_last=batch.is_last,
        has_evidence=has_evidence,
        arms=batch.arms,
    )


def threshold_message(batch: BatchSeen) -> str:
    """How a batch failed, in figures."""
    tally = batch.tally
    return (
        f"batch {batch.name}: {tally.failed} of {tally.verdicts} verdicts failed,"
        f" {batch.success_threshold} % must pass"
    )


def leave(world: Snapshot, manifest: Deployment, run: RunSeen, batch: BatchSeen) -> list[Action]:
    """A batch whose members passed: soak, figures and approval, then the next."""
    if world.holds:
        return [waits(world)]
    passes: list[Action] = [MoveBatch(batch.number, BatchState.PASSED)]
    if batch.is_last or batch.size == 0 or batch.is_alone:
        return passes
    soaked_at = (batch.last_verdict_at or batch.opened_at) + batch.soak_s
    if batch.soak_s and soaked_at > world.now:
        if batch.state is BatchState.OPEN:
            return [MoveBatch(batch.number, BatchState.SOAKING)]
        return [Hold("Soaking", f"batch {batch.name}", soaked_at)]
    if run.is_return:
        return passes
    return _ask_figures(world, manifest, batch) or _ask_people(world, batch) or passes


def _ask_figures(world: Snapshot, manifest: Deployment, batch: BatchSeen) -> list[Action]:
    if not manifest.analysis:
        return []
    if batch.analysis_from is None:
        return [BeginAnalysis(batch.number)]
    seen = world.analysis
    match seen.figures:
        case Figures.ASKING:
            message = f"batch {batch.name}: {seen.message}".rstrip(": ")
            return [Hold("Analyzing", message, seen.next_ask_at)]
        case Figures.FAILED:
            return [MoveBatch(batch.number, BatchState.FAILED, seen.message)]
        case Figures.INCONCLUSIVE if batch.number not in world.rules.figures_approved:
            return hold(world, "AnalysisInconclusive", f"batch {batch.name}: {seen.message}")
    return []


def _ask_people(world: Snapshot, batch: BatchSeen) -> list[Action]:
    if not batch.needs_approval or batch.number in world.rules.batch_approvals:
        return []
    message = f"batch {batch.name} is done; `towline approve {world.deployment}` lets it go on"
    return hold(world, "WaitingForApproval", message)


def after_failure(world: Snapshot, manifest: Deployment, batch: BatchSeen) -> list[Action]:
    """Paused while untouched devices are left, else failed once all grants have their verdict."""
    # Figures that a commit changed since do not undo what they said.
    by_figures = world.analysis.figures is Figures.FAILED or "AnalysisFailed" in world.held
    message = world.analysis.message if by_figures else threshold_message(batch)
    if manifest.on_failure is OnFailure.ABORT:
        return [EndRun(RunState.FAILED, "Aborted", message)]
    if manifest.on_failure is OnFailure.ROLLBACK:
        return [GoBack("RolledBackByPolicy")]
    if by_figures:
        return hold(world, "AnalysisFailed", message)
    waiting = sum(each.tally.waiting for each in world.batches)
    if waiting + world.fleet.left:
        return hold(world, "ThresholdNotMet", message)
    if world.slots.in_flight and world.holds:
        return [waits(world)]
    if world.slots.in_flight:
        left = counted(world.slots.in_flight, "device")
        return [Hold("Draining", f"{left} finishing", world.next_clock)]
    return [EndRun(RunState.FAILED, "ThresholdNotMet", message)]
