"""What a run that is over still does: late joiners, drifted devices, devices that go back. Pure.

Self-healing has slots, windows and the budget of its run, a standing gate over the last verdicts,
and a limit per hour; beyond it a person must look.
"""

from towline.manifests.model import Deployment
from towline.reconciler.actions import Action, AddHold, Admit, GiveUpHealing, Grant, Heal, Hold
from towline.reconciler.rolling_out import free_slots
from towline.reconciler.snapshot import Aftercare, Snapshot


def look_again(world: Snapshot) -> Hold:
    """Nothing to say of the run itself; a device that still finishes may have a clock."""
    care = world.aftercare
    times = [world.next_clock, care.next_heal_at, *(each.until for each in world.holds)]
    return Hold("", until=min((at for at in times if at is not None), default=None))


def serve_returners(world: Snapshot, manifest: Deployment) -> list[Action]:
    """A failed or cancelled run grants only what goes back."""
    devices = () if world.holds else free_slots(world, manifest)
    return [Grant(devices)] if devices else [look_again(world)]


def care_after(world: Snapshot, manifest: Deployment) -> list[Action]:
    """After completion: whoever joined late or drifted gets the release, too."""
    care = world.aftercare
    if world.holds:
        return [look_again(world)]
    if care.looping:
        return [GiveUpHealing(device) for device in care.looping]
    if devices := free_slots(world, manifest):
        return [Grant(devices)]
    if not manifest.self_heal:
        return [look_again(world)]
    free = manifest.max_concurrent - world.slots.in_flight
    latecomers = min(world.fleet.seen, free)
    if not care.drifted and latecomers <= 0:
        return [look_again(world)]
    if problem := _too_much(care, manifest):
        return [AddHold("SelfHealHeld", problem, withdraws=True)]
    room = care.limit - care.served_within_hour
    if care.drifted:
        return [Heal(care.drifted[:room])]
    if world.last_batch is None:
        return [look_again(world)]
    return [Admit(world.last_batch.number, min(latecomers, room), only_seen=True)]


def _too_much(care: Aftercare, manifest: Deployment) -> str:
    recent = care.recent
    if recent.failed and recent.passed * 100 < manifest.success_threshold * recent.verdicts:
        return f"{recent.failed} of the last {recent.verdicts} verdicts failed"
    if care.served_within_hour >= care.limit:
        return f"{care.served_within_hour} devices joined late or drifted within an hour"
    return ""
