"""Which arm of an experiment a device is in: a hash of the Deployment's name and the device.

The device's number stands for its name, so that both engines compute the arm as Python does: an
affine permutation of a fixed range that depends on nothing but the Deployment's name. It is the
same in every revision, and a changed weight moves only the devices between the old and the new
bound. The step is screened (see `cohort`), so that devices enrolled together are spread.
"""

import hashlib
from collections.abc import Mapping, Sequence
from functools import lru_cache

from towline.manifests.model import Arm
from towline.reconciler.cohort import Order, order_within

RANGE = 2_147_483_647
"""A prime above every device's number; products stay below 2^63."""

Bounds = tuple[int, int]
"""From, and to (exclusive): positions of an arm's devices."""


@lru_cache(maxsize=1024)
def spread(deployment: str) -> Order:
    """Where the devices of a Deployment's experiments stand in RANGE."""
    return order_within(hashlib.sha256(deployment.encode()).hexdigest(), RANGE)


def bounds(arms: Sequence[Arm]) -> Mapping[str, Bounds]:
    """The positions of each arm; weights are percent and sum to 100."""
    found: dict[str, Bounds] = {}
    below = 0
    for arm in arms:
        above = below + arm.weight
        found[arm.name] = (below * RANGE // 100, above * RANGE // 100)
        below = above
    return found


def arm_of(deployment: str, device_seq: int, arms: Sequence[Arm]) -> str:
    """The name of the device's arm."""
    position = spread(deployment).position(device_seq)
    return next(name for name, (low, high) in bounds(arms).items() if low <= position < high)
