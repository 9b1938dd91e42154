"""Token buckets: how often something may happen for each of many keys, in bounded memory.

Whoever takes says what time it is. A key that nobody has asked for lately has a full bucket, so it
may be forgotten; where there are too many keys, the one that was asked for longest ago is.
"""

import math
import threading
from collections import OrderedDict

MOST = 20_000


class Buckets:
    """A bucket for each key; safe to use from any thread."""

    def __init__(self, burst: int, per_s: float, most: int = MOST) -> None:
        """`burst` at once, and `per_s` more each second; of at most `most` keys."""
        self._burst = burst
        self._per_s = per_s
        self._most = most
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._changing = threading.Lock()

    def take(self, key: str, now: float) -> int:
        """Take one: 0 when there was one, else the whole seconds until there is."""
        with self._changing:
            left, at = self._left.pop(key, (float(self._burst), now))
            left = min(self._burst, left + max(0.0, now - at) * self._per_s)
            is_there = left >= 1
            # A clock that goes back gives nothing, and begins anew from where it is.
            self._left[key] = (left - 1 if is_there else left, now)
            if len(self._left) > self._most:
                self._left.popitem(last=False)
        return 0 if is_there else max(1, math.ceil((1 - left) / self._per_s))

    def wait_s(self, key: str, now: float) -> int:
        """As `take` answers, and nothing is taken."""
        with self._changing:
            left, at = self._left.get(key, (float(self._burst), now))
        left = min(self._burst, left + max(0.0, now - at) * self._per_s)
        return 0 if left >= 1 else max(1, math.ceil((1 - left) / self._per_s))

    def __len__(self) -> int:
        """How many keys are remembered."""
        return len(self._left)
