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
    LetGo,
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
from towline.reconciler.store.clocks import Lapse
from towline.schemas.states import LIVE_RUNS, RunState


def decide(world: Snapshot) -> list[Action]:
    """The next step; an empty list, or one with nothing but a Hold, means: nothing to do now."""
    if steps := _follow_git(world):
        return steps
    if lapses := _answers(world):
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
    was_removed = run is not None and run.reason == "ManifestRemoved"
    is_let_go = run is not None and (was_removed or run.is_let_go)
    if manifest is None:
        return _let_go(is_live=is_live, is_known=run is None or is_let_go)
    if run is not None and run.revision == manifest.revision and not is_let_go:
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


def _let_go(*, is_live: bool, is_known: bool) -> list[Action]:
    """The manifest was removed."""
    if is_live:
        return [EndRun(RunState.CANCELLED, "ManifestRemoved")]
    return [] if is_known else [LetGo()]


def _answers(world: Snapshot) -> list[Action]:
    """What the clocks that ran out mean: one action for all devices of one kind and run."""
    groups: dict[tuple[int, Lapse, int], list[int]] = {}
    for lapsed in world.lapsed:
        # Whose grant was not fetched fares by its batch, and who is back enters one.
        batch = lapsed.batch if lapsed.lapse in (Lapse.NOT_FETCHED, Lapse.RETURNED) else -1
        groups.setdefault((lapsed.run_seq, lapsed.lapse, batch), []).append(lapsed.device_seq)
    return [
        _answer(world, lapse, run_seq, batch, tuple(devices))
        for (run_seq, lapse, batch), devices in sorted(groups.items())
    ]


def _answer(
    world: Snapshot, lapse: Lapse, run_seq: int, batch: int, devices: tuple[int, ...]
) -> Action:
    match lapse:
        case Lapse.TIMED_OUT:
            return TimeOut(run_seq, devices)
        case Lapse.UNPREPARED:
            return GiveUpPreparing(run_seq, devices)
        case Lapse.OFFLINE:
            return Defer(run_seq, devices)
        case Lapse.LEFT:
            return Release(run_seq, devices)
        case Lapse.RETURNED:
            return Readmit(devices, batch)
    opened = next((each for each in world.batches if each.number == batch), None)
    is_going_back = world.run is not None and bool(world.run.goes_back)
    if opened is not None and not opened.is_last and not is_going_back:
        return Defer(run_seq, devices)
    return Withdraw(run_seq, devices)
