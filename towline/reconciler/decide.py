"""What the reconciler would do now for one Deployment: a pure function over a Snapshot.

`decide` returns the next step only; the loop observes again and asks until nothing but a Hold is
left. Plan, simulation and explanation are callers of the same function.
"""

from towline.reconciler.actions import (
    Action,
    BeginRun,
    ChangeOffer,
    Defer,
    EndRun,
    GiveUpPreparing,
    Readmit,
    Release,
    TimeOut,
    Withdraw,
)
from towline.reconciler.aftercare import care_after, look_again, serve_returners
from towline.reconciler.going_back import go_back
from towline.reconciler.holding import change_holds, lapsed_holds
from towline.reconciler.rolling_out import roll_out
from towline.reconciler.snapshot import Snapshot
from towline.reconciler.starting import start
from towline.reconciler.store.clocks import Lapse, Lapsed
from towline.schemas.states import LIVE_RUNS, RunState


def decide(world: Snapshot) -> list[Action]:
    """The next step; an empty list, or one with nothing but a Hold, means: nothing to do now."""
    if steps := _follow_git(world):
        return steps
    if lapses := [_answer(lapsed, world) for lapsed in world.lapsed]:
        return lapses
    if world.run is None:
        return []
    if world.manifest is None:
        return lapsed_holds(world) or [look_again(world)]
    if world.is_offer_changed:
        return [ChangeOffer()]
    if changes := change_holds(world, world.manifest):
        return changes
    if world.run.status is RunState.COMPLETED:
        return care_after(world, world.manifest)
    if world.run.status not in LIVE_RUNS:
        return serve_returners(world, world.manifest)
    if world.run.goes_back:
        return go_back(world, world.manifest)
    if world.run.started_at is None:
        return start(world, world.manifest, world.run)
    return roll_out(world, world.manifest, world.run)


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


def _answer(lapsed: Lapsed, world: Snapshot) -> Action:
    """What a clock that ran out means for its device."""
    match lapsed.lapse:
        case Lapse.TIMED_OUT:
            return TimeOut(lapsed.run_seq, lapsed.device_seq)
        case Lapse.UNPREPARED:
            return GiveUpPreparing(lapsed.run_seq, lapsed.device_seq)
        case Lapse.OFFLINE:
            return Defer(lapsed.run_seq, lapsed.device_seq)
        case Lapse.LEFT:
            return Release(lapsed.run_seq, lapsed.device_seq)
        case Lapse.RETURNED:
            return Readmit(lapsed.device_seq, lapsed.batch)
    batch = next((b for b in world.batches if b.number == lapsed.batch), None)
    is_going_back = world.run is not None and bool(world.run.goes_back)
    if batch is not None and not batch.is_last and not is_going_back:
        return Defer(lapsed.run_seq, lapsed.device_seq)
    return Withdraw(lapsed.run_seq, lapsed.device_seq)
