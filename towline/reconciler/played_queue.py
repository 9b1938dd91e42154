"""What devices do next on the virtual clock, many at a time.

Steps that fall near the same tick are taken together, so that a hundred thousand devices cost a
few hundred statements. Rounding to the nearest tick leaves the lengths right in the mean.
"""

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import IntEnum


class Step(IntEnum):
    """What a device does; at the same tick the first ones come first."""

    BACK = 0
    """It is in touch again."""
    POLLED = 1
    """It fetched its document."""
    STAGED = 2
    OPENED = 3
    """The window that it waited for opens."""
    ENDED = 4
    """Its install is over, well or badly."""
    VERIFIED = 5
    """It reported what it runs, after it completed."""
    LATE = 6
    """Its time to install, or to download ahead, is over."""


NO_RUN = 0
"""Of steps that belong to a device and not to one run of it."""


@dataclass(slots=True)
class Queue:
    """Devices by tick, step and run."""

    tick_s: int
    _by_tick: dict[int, dict[tuple[Step, int], list[int]]] = field(default_factory=dict)
    _ticks: list[int] = field(default_factory=list)

    def add(self, now: int, in_s: float, step: Step, run_seq: int, device: int) -> None:
        """The device takes the step in about so many seconds."""
        ticks = round((now + in_s) / self.tick_s)
        self._put(max(now, ticks * self.tick_s), step, run_seq, device)

    def add_not_before(self, at: int, step: Step, run_seq: int, devices: Iterable[int]) -> None:
        """The devices take the step at the first tick from `at` on."""
        ticks = -(-at // self.tick_s)
        for device in devices:
            self._put(ticks * self.tick_s, step, run_seq, device)

    def _put(self, at: int, step: Step, run_seq: int, device: int) -> None:
        if at not in self._by_tick:
            self._by_tick[at] = {}
            heapq.heappush(self._ticks, at)
        self._by_tick[at].setdefault((step, run_seq), []).append(device)

    @property
    def next_at(self) -> int | None:
        """When the next step is due."""
        return self._ticks[0] if self._ticks else None

    def due(self, now: int) -> Iterator[tuple[Step, int, list[int]]]:
        """Steps that are due, in order, also those that are added meanwhile."""
        while self._ticks and self._ticks[0] <= now:
            steps = self._by_tick.pop(heapq.heappop(self._ticks))
            for (step, run_seq), devices in sorted(steps.items()):
                yield step, run_seq, devices
