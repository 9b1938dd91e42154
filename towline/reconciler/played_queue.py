"""What devices do next on the virtual clock, many at a time.

Every step has a time of its own and is taken with all others at the first tick from then on, so
that a hundred thousand devices cost a few hundred statements; what follows from a step counts from
its own time, and ticks do not add up.
"""

import heapq
import math
from collections.abc import Iterator
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


_WORK = frozenset({Step.STAGED, Step.OPENED, Step.ENDED, Step.VERIFIED})
NO_RUN = 0
"""Of steps that belong to a device and not to one run of it."""


@dataclass(slots=True)
class Queue:
    """Devices, each with the time of its step, by tick, step and run."""

    tick_s: int
    _by_tick: dict[int, dict[tuple[Step, int], list[tuple[int, float]]]] = field(
        default_factory=dict
    )
    _ticks: list[int] = field(default_factory=list)
    _tick: int = 0
    """The tick whose steps are taken, or were last."""
    _at_work: set[tuple[int, int]] = field(default_factory=set)
    """Run and device, where the device is in the middle of something for the run."""

    def add(self, at: float, step: Step, run_seq: int, device: int, *, after: int = 0) -> None:
        """The device takes the step at `at`, seen at the first tick from then on.

        `after`: at a tick after this time.
        """
        tick = max(math.ceil(at / self.tick_s), after // self.tick_s + 1) * self.tick_s
        tick = max(tick, self._tick)
        if tick not in self._by_tick:
            self._by_tick[tick] = {}
            heapq.heappush(self._ticks, tick)
        self._by_tick[tick].setdefault((step, run_seq), []).append((device, at))
        if step in _WORK:
            self._at_work.add((run_seq, device))

    def is_at_work(self, run_seq: int, device: int) -> bool:
        """A step that the device takes for the run is still to come."""
        return (run_seq, device) in self._at_work

    @property
    def next_at(self) -> int | None:
        """When the next step is due."""
        return self._ticks[0] if self._ticks else None

    def due(self, now: int) -> Iterator[tuple[Step, int, dict[int, float]]]:
        """Steps that are due, with devices and times, also those that are added meanwhile."""
        while self._ticks and self._ticks[0] <= now:
            self._tick = self._ticks[0]
            steps = self._by_tick[self._tick]
            if not steps:
                del self._by_tick[heapq.heappop(self._ticks)]
                continue
            step, run_seq = min(steps)
            devices = dict(steps.pop((step, run_seq)))
            if step in _WORK:
                self._at_work.difference_update((run_seq, device) for device in devices)
            yield step, run_seq, devices
