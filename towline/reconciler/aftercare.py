"""What a run that is over still does: late joiners, drifted devices, devices that go back. Pure.

Self-healing has slots, windows and the budget of its run, a standing gate over the last verdicts,
and a limit per hour; beyond it a person must look.
"""

from towline.manifests.model import Deployment, StrategyKind
from towline.reconciler.actions import (
    Action,
    AddHold,
    Admit,
    GiveUpHealing,
    Grant,
    Heal,
    Hold,
    MoveBatch,
    OpenBatch,
    SendBack,
)
from towline.reconciler.rolling_out import free_slots
from towline.reconciler.snapshot import Aftercare, Snapshot
from towline.schemas.states import BatchState


def look_again(world: Snapshot) -> Hold:
    """Nothing to say of the run itself; a device that still finishes may have a clock."""
    care = world.aftercare
    times = [world.next_clock, care.next_heal_at, *(each.until for each in world.holds)]
    ahead = (at for at in times if at is not None and at > world.now)
    return Hold("", until=min(ahead, default=None))


def serve_returners(world: Snapshot, manifest: Deployment) -> list[Action]:
    """A failed or cancelled run grants only what goes back; a late install goes back, too."""
    if world.holds:
        return [look_again(world)]
    if world.to_send_back:
        return [SendBack(world.to_send_back)]
    devices = free_slots(world, manifest)
    return [Grant(devices)] if devices else [look_again(world)]


def care_after(world: Snapshot, manifest: Deployment) -> list[Action]:
    """After completion: whoever joined late or drifted gets the release, too."""
    care = world.aftercare
    if world.holds:
        return [look_again(world)]
    if care.looping:
        return [GiveUpHealing(care.looping)]
    devices = free_slots(world, manifest)
    drifted = care.drifted if manifest.self_heal else ()
    latecomers = _latecomers(world, manifest)
    if not (devices or drifted or latecomers):
        return [look_again(world)]
    if problem := _gate(care, manifest):
        return [AddHold("SelfHealHeld", problem, withdraws=True)]
    if devices:
        return [Grant(devices)]
    room = care.limit - care.served_within_hour
    if room <= 0:
        problem = f"{care.served_within_hour} devices joined late or drifted within an hour"
        return [AddHold("SelfHealHeld", problem, withdraws=True)]
    if drifted:
        return [Heal(drifted[:room])]
    return _admit(world, manifest, min(latecomers, room))


def _admit(world: Snapshot, manifest: Deployment, limit: int) -> list[Action]:
    """Into the last batch; a run that had nothing to do has none yet."""
    if world.last_batch is not None:
        return [Admit(world.last_batch.number, limit, only_seen=True)]
    rest = manifest.batches[-1]
    return [
        OpenBatch(0, rest, limit, is_last=True, only_seen=True),
        MoveBatch(0, BatchState.PASSED),
    ]


def _latecomers(world: Snapshot, manifest: Deployment) -> int:
    """How many may join now; whom a person names by hand joins without self-healing, too."""
    is_wanted = manifest.self_heal or manifest.strategy is StrategyKind.MANUAL
    if not is_wanted:
        return 0
    return max(0, min(world.fleet.seen, manifest.max_concurrent - world.slots.in_flight))


def _gate(care: Aftercare, manifest: Deployment) -> str:
    """What the last verdicts say against going on."""
    recent = care.recent
    if recent.failed and recent.passed * 100 < manifest.success_threshold * recent.verdicts:
        return f"{recent.failed} of the last {recent.verdicts} verdicts failed"
    return ""
