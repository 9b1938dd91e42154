"""A run that is rolled back: each device goes back to what its target recorded. Pure.

Going back takes slots and obeys the budget like an install, and holds: what was started by a
person can be paused by one.
"""

from towline.manifests.model import Deployment
from towline.reconciler.actions import Action, EndRun, Grant, Hold, SendBack
from towline.reconciler.holding import waits
from towline.reconciler.lengths import counted
from towline.reconciler.rolling_out import free_slots
from towline.reconciler.snapshot import Snapshot
from towline.schemas.states import RunState


def go_back(world: Snapshot, manifest: Deployment) -> list[Action]:
    """The next step back, or the end once nobody is on the way."""
    if world.holds:
        return [waits(world)]
    if world.to_send_back:
        return [SendBack(world.to_send_back)]
    if devices := free_slots(world, manifest):
        return [Grant(devices)]
    left = max(world.going_back, world.slots.in_flight)
    if left:
        return [Hold("RollingBack", f"{counted(left, 'device')} going back", world.next_clock)]
    return [EndRun(RunState.FAILED, "RolledBack")]
