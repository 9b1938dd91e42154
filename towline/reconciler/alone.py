"""safeMode: which one device goes first, alone. The most cautious choice, the same for each look.

Seen in two polls, no failure in its last attempt, room for twice the package, its window open
soonest; among equals the run's order.
"""

from sqlalchemy import Connection

from towline.manifests.filters import FilterableDevice
from towline.reconciler.offer import Offer
from towline.reconciler.store import cautious, freezes
from towline.reconciler.store.cautious import Cautious
from towline.reconciler.store.choice import Affine, Choice
from towline.reconciler.store.condition_keys import ConditionGroup
from towline.schemas.windows import install_need_s, opening_if_known

NEVER = 2**62


def find_alone(
    connection: Connection,
    choice: Choice,
    groups: list[ConditionGroup],
    offer: Offer,
    order: Affine | None,
    now: int,
) -> int | None:
    """The device (its seq); None when no fitting device is safe enough now."""
    size = max(release.size for release in offer.releases)
    found = [
        device
        for device in cautious.candidates(connection, choice, groups, order)
        if device.free_bytes is None or device.free_bytes >= 2 * size
    ]
    openings = {device.seq: _opening(connection, choice, offer, device, now) for device in found}
    best = min(found, key=lambda device: (openings[device.seq], device.position), default=None)
    return None if best is None else best.seq


def _opening(
    connection: Connection, choice: Choice, offer: Offer, device: Cautious, now: int
) -> int:
    filterable = FilterableDevice(device.slug, device.device_type, device.labels)
    windows = (
        *offer.windows,
        *freezes.windows_of(connection, choice.organization, filterable),
    )
    need_s = install_need_s(offer.install_timeout_s, offer.health)
    opening = opening_if_known(windows, now, device.time_zone, need_s)
    return NEVER if opening is None else opening
