"""Holds: which reason is shown when there are several, what lays them, and what lifts them.

A hold that a person lifts by a verb is lifted in `acts`; here are those that git, a clock or an
approval lifts. Pure.
"""

from towline.manifests.model import Deployment
from towline.reconciler.actions import Action, AddHold, ClearHold, Hold
from towline.reconciler.snapshot import BatchSeen, Figures, RunSeen, Snapshot
from towline.schemas.states import LIVE_RUNS, BatchState

GRAVEST_FIRST = (
    "RestoredFromBackup",
    "PolicyViolated",
    "ThresholdNotMet",
    "AnalysisFailed",
    "NoEvidence",
    "DeadlineExceeded",
    "GitStale",
    "SelfHealHeld",
    "PlanStale",
    "AnalysisInconclusive",
    "WaitingForApproval",
    "PausedByUser",
    "PausedInGit",
)
"""Every reason of a hold; the first of those in force is shown."""

CLEARED_BY = {
    "RestoredFromBackup": "approve",
    "PolicyViolated": "a commit that obeys",
    "ThresholdNotMet": "retry, or resume --accept",
    "AnalysisFailed": "retry, or resume --accept",
    "NoEvidence": "retry, or resume --accept",
    "DeadlineExceeded": "resume",
    "GitStale": "git back",
    "SelfHealHeld": "approve",
    "PlanStale": "approve",
    "AnalysisInconclusive": "approve, or a clear answer",
    "WaitingForApproval": "approve",
    "PausedByUser": "resume, or its time running out",
    "PausedInGit": "a commit, or resume until a commit changes the key",
}
"""The verb or event that clears each."""

STAY_WITH_DEPLOYMENT = frozenset({"PausedByUser", "PausedInGit"})
"""These hold the next run, too."""


def hold(world: Snapshot, reason: str, message: str) -> list[Action]:
    """Lay a hold, or wait under it when it stands already.

    What was granted is taken back where nothing was installed yet; only after a failed gate are
    grants left alone: they tell more about the release.
    """
    if reason in world.held:
        return [waits(world)]
    return [AddHold(reason, message, withdraws=reason != "ThresholdNotMet")]


def waits(world: Snapshot) -> Hold:
    """The gravest hold, as what the run waits for, until the next time that any of it matters."""
    gravest = min(world.holds, key=lambda each: gravest_first(each.reason))
    times = [each.until for each in world.holds if each.until is not None]
    others = (world.next_clock, world.analysis.next_ask_at, world.rules.approvals_lapse_at)
    times += [at for at in others if at is not None]
    return Hold(gravest.reason, gravest.message, min(times, default=None))


def gravest_first(reason: str) -> int:
    """Sorts holds by their reason, the gravest first; one that is not known comes last."""
    return GRAVEST_FIRST.index(reason) if reason in GRAVEST_FIRST else len(GRAVEST_FIRST)


def change_holds(world: Snapshot, manifest: Deployment) -> list[Action]:
    """Holds that git and time lay, and those that git, time and approvals lift."""
    return [*_lifted(world, manifest), *_laid(world, manifest)]


def _wants_pause(world: Snapshot, manifest: Deployment) -> bool:
    return manifest.paused and not world.is_resumed_over_git


def _lifted(world: Snapshot, manifest: Deployment) -> list[Action]:
    rules, run, batch = world.rules, world.run, world.current_batch
    assert run is not None
    is_over = {
        "PausedInGit": not _wants_pause(world, manifest),
        "GitStale": not rules.is_git_stale or bool(run.goes_back),
        "PolicyViolated": not rules.policy_problem,
        "PlanStale": not rules.plan_excess or rules.is_plan_approved,
        "WaitingForApproval": _is_approved(world, run),
        "AnalysisInconclusive": world.analysis.figures is not Figures.INCONCLUSIVE
        or (batch is not None and _is_failed_or_in(batch, rules.figures_approved)),
    }
    by_rule: list[Action] = [
        ClearHold(each.reason) for each in world.holds if is_over.get(each.reason)
    ]
    return [*by_rule, *(each for each in lapsed_holds(world) if each not in by_rule)]


def lapsed_holds(world: Snapshot) -> list[Action]:
    """Holds whose time ran out."""
    return [
        ClearHold(each.reason)
        for each in world.holds
        if each.until is not None and each.until <= world.now
    ]


def _is_approved(world: Snapshot, run: RunSeen) -> bool:
    rules, batch = world.rules, world.current_batch
    if run.started_at is None:
        return rules.start_approvals >= rules.approvals_needed
    if batch is None or not batch.needs_approval:
        return True
    return _is_failed_or_in(batch, rules.batch_approvals)


def _is_failed_or_in(batch: BatchSeen, approved: frozenset[int]) -> bool:
    """A batch that regressed while people were asked has nothing left to be approved."""
    return batch.state is BatchState.FAILED or batch.number in approved


def _laid(world: Snapshot, manifest: Deployment) -> list[Action]:
    steps: list[Action] = []
    if _wants_pause(world, manifest) and "PausedInGit" not in world.held:
        steps.append(AddHold("PausedInGit", "the manifest says `paused: true`", withdraws=True))
    assert world.run is not None
    if world.run.status not in LIVE_RUNS:
        return steps
    # A way back never depends on git.
    is_stale = world.rules.is_git_stale and not world.run.goes_back
    if is_stale and "GitStale" not in world.held:
        message = "git has not answered for longer than the Policy allows"
        steps.append(AddHold("GitStale", message, withdraws=True))
    since = world.slots.stalled_since
    if since is not None and not world.holds and since + manifest.progress_deadline_s <= world.now:
        message = "a device that is online holds a grant and there was no verdict for too long"
        steps.append(AddHold("DeadlineExceeded", message, withdraws=True))
    return steps
