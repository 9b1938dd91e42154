"""What a pending run waits for before it begins: a statement, a start, the Policy, people. Pure."""

from collections.abc import Iterator

from towline.manifests.model import Deployment, StartMode
from towline.reconciler.actions import Action, AddHold, ClearHold, Hold, StartRun
from towline.reconciler.holding import waits
from towline.reconciler.snapshot import RunSeen, Snapshot


def start(world: Snapshot, manifest: Deployment, run: RunSeen) -> list[Action]:
    """Begin the run, or say what it waits for."""
    if wait := _wait(world, manifest, run):
        return [waits(world) if world.holds else wait]
    # What a return delivers has passed the Policy and the people once, and a revert must not wait.
    if not run.is_return and (steps := list(_ask(world))):
        return steps
    return [waits(world)] if world.holds else [StartRun()]


def _wait(world: Snapshot, manifest: Deployment, run: RunSeen) -> Hold | None:
    if world.statement_problem:
        return Hold("WaitingForStatement", world.statement_problem)
    # Who deploys by calls of the API begins by one as well, even when it is back to what was.
    if run.start_requested or (run.is_return and not manifest.is_api_made):
        return None
    start = manifest.start
    if start.mode is StartMode.MANUAL:
        return Hold("WaitingForStart", f"`towline start {world.deployment}` begins it")
    if start.mode is StartMode.AT and start.at is not None and start.at > world.now:
        return Hold("StartAt", until=start.at)
    return None


def _ask(world: Snapshot) -> Iterator[Action]:
    """Lay what is not laid yet; how many have approved is told anew."""
    said = {each.reason: each.message for each in world.holds}
    for reason, message in _forbidden(world):
        is_counting = reason == "WaitingForApproval"
        if reason in said and is_counting and said[reason] != message:
            yield ClearHold(reason)
        if reason not in said or (is_counting and said[reason] != message):
            yield AddHold(reason, message, withdraws=True)


def _forbidden(world: Snapshot) -> Iterator[tuple[str, str]]:
    """All that stands against the start, so that one look shows it."""
    rules = world.rules
    if rules.policy_problem:
        yield "PolicyViolated", rules.policy_problem
    if rules.plan_excess and not rules.is_plan_approved:
        yield "PlanStale", rules.plan_excess
    if rules.start_approvals < rules.approvals_needed:
        yield (
            "WaitingForApproval",
            f"{rules.start_approvals} of {rules.approvals_needed} operators approved the start;"
            " the author of the commit does not count",
        )
