"""Which arm of an experiment a device is in: a hash of the Deployment's name and the device.

The device's number stands for its name, so that both engines compute the arm as Python does: an
affine permutation of a fixed range that depends on nothing but the Deployment's name. It is the
same in every revision, and a changed weight moves only the devices between the old and the new
bound. Devices enrolled after each other are spread evenly: small fleets have their shares, too.
"""

import hashlib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import count

from towline.manifests.model import Arm
from towline.reconciler.cohort import Order

RANGE = 2_147_483_647
"""A prime above every device's number; products stay below 2^63."""

_REACH, _EVENNESS = 64, 6
"""The distance of k devices enrolled after each other is at least RANGE / (6 k), up to k = 64; no
number can do better than RANGE / (2.2 k) for all k."""

Bounds = tuple[int, int]
"""From, and to (exclusive): positions of an arm's devices."""


@lru_cache(maxsize=1024)
def spread(deployment: str) -> Order:
    """Where the devices of a Deployment's experiments stand in RANGE."""
    for attempt in count():
        digest = hashlib.sha256(f"{attempt}/{deployment}".encode()).digest()
        off = int.from_bytes(digest[:8], "big") % RANGE
        mul = 1 + int.from_bytes(digest[8:16], "big") % (RANGE - 1)
        if _is_even(mul):
            return Order(RANGE, pow(mul, -1, RANGE), off)
    raise AssertionError("count() does not end")


def _is_even(mul: int) -> bool:
    """Any run of devices enrolled together is spread over the whole range."""
    distances = (k * mul % RANGE for k in range(1, _REACH + 1))
    return all(k * min(d, RANGE - d) * _EVENNESS >= RANGE for k, d in enumerate(distances, 1))


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
