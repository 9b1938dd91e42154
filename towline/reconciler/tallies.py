"""Plain numbers of what happened since the start: one thread writes each, and a scrape reads them.

They cost an addition where something happens; nothing is locked, nobody waits.
"""

import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

BOUNDS_S = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
"""Upper bounds of the steps of durations; what takes longer has a step of its own."""

POLLS = ("document", "unchanged")
REPORTS = ("accepted", "refused")
"""`accepted` once committed, `refused` where they could not be read."""
TURNED_AWAY = ("busy", "clock", "failures", "rate", "session")
"""`session` must be opened anew, `busy` is the queue; docs/metrics.md tells of each."""


@dataclass(slots=True)
class Durations:
    """How long something took, each time."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS_S) + 1))
    total_s: float = 0.0

    def note(self, seconds: float) -> None:
        """Once."""
        self.counts[bisect_left(BOUNDS_S, seconds)] += 1
        self.total_s += seconds

    @contextmanager
    def timed(self) -> Iterator[None]:
        """The block, whether it fails or not."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.note(time.monotonic() - began)


@dataclass(slots=True)
class LoopTally:
    """Of an organization's reconciler; its loop writes."""

    passes: Durations = field(default_factory=Durations)
    failed_passes: int = 0
    """Passes, and Deployments within one, that ended in an error."""
    git_looks: Durations = field(default_factory=Durations)
    failed_git_looks: int = 0
    git_seen_at: int = 0
    """When the branch was last seen as it is at its source; seconds since the epoch."""


@dataclass(slots=True)
class DeviceTally:
    """Of the devices' calls, by organization and outcome; the event loop writes."""

    polls: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Of `POLLS`."""
    reports: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Of `REPORTS`."""
    turned_away: Counter[str] = field(default_factory=Counter)
    """Calls of whoever it is, by a word of `TURNED_AWAY`."""


@dataclass(slots=True)
class InletTally:
    """Of the writing thread, which writes it."""

    flushes: Durations = field(default_factory=Durations)
    failed_flushes: int = 0
