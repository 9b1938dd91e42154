"""What a pending run waits for before it begins: a statement, a start, the Policy, people. Pure."""

from towline.manifests.model import Deployment, StartMode
from towline.reconciler.actions import Action, Hold, StartRun
from towline.reconciler.holding import hold, waits
from towline.reconciler.snapshot import RunSeen, Snapshot


def start(world: Snapshot, manifest: Deployment, run: RunSeen) -> list[Action]:
    """Begin the run, or say what it waits for."""
    if world.holds:
        return [waits(world)]
    if world.statement_problem:
        return [Hold("WaitingForStatement", world.statement_problem)]
    if not (run.start_requested or run.is_return) and (wait := _start_time(world, manifest)):
        return [wait]
    # What a return delivers has passed the Policy and the people once, and a revert must not wait.
    if not run.is_return and (steps := _permission(world)):
        return steps
    return [StartRun()]


def _start_time(world: Snapshot, manifest: Deployment) -> Hold | None:
    start = manifest.start
    if start.mode is StartMode.MANUAL:
        return Hold("WaitingForStart", f"`towline start {world.deployment}` begins it")
    if start.mode is StartMode.AT and start.at is not None and start.at > world.now:
        return Hold("StartAt", until=start.at)
    return None


def _permission(world: Snapshot) -> list[Action]:
    rules = world.rules
    if rules.policy_problem:
        return hold(world, "PolicyViolated", rules.policy_problem)
    if rules.plan_excess and not rules.is_plan_approved:
        return hold(world, "PlanStale", rules.plan_excess)
    if rules.start_approvals < rules.approvals_needed:
        message = (
            f"{rules.start_approvals} of {rules.approvals_needed} operators approved the start;"
            " the author of the commit does not count"
        )
        return hold(world, "WaitingForApproval", message)
    return []
