"""How often devices may call: each in its session, and from each address those who are refused.

Whoever is in a session is known, so that others at the same address never slow it down. Whoever is
not costs a signature to be looked at; an address that was refused too often waits before that.
"""

import math
from dataclasses import dataclass

from towline.reconciler.server.buckets import Buckets
from towline.reconciler.server.wire import Answer, come_later

BURST_S = 10
"""So many seconds' calls of a device may come at once."""
FAILURES_BURST_S = 60
_LAWFUL = frozenset({"clock"})
"""Refusals of those who have shown who they are."""


@dataclass(frozen=True, slots=True)
class RateLimits:
    """What is generous for a real fleet, also one behind a single address."""

    of_device: int = 50
    """Calls of one device in a second: polls, and requests with reports."""
    failures: int = 10
    """Refused enrolments and sessions of one address in a second."""


GENEROUS = RateLimits()


class DeviceRates:
    """Counts both; whoever asks says what time it is. Belongs to the event loop's thread."""

    def __init__(self, limits: RateLimits) -> None:
        self._step_s = 1 / limits.of_device
        self._next_s: dict[int, float] = {}
        """When a device's calls would all be due, had they come at their rate: one number each."""
        self._failures = Buckets(limits.failures * FAILURES_BURST_S, limits.failures)

    def take(self, device_seq: int, now: float) -> int:
        """Count a call: 0 when it may be served, else the whole seconds until one may."""
        ahead_s = self._next_s.get(device_seq, 0.0) - now
        if not 0 <= ahead_s <= BURST_S:
            ahead_s = 0.0  # long ago, or the clock went back
        if ahead_s + self._step_s > BURST_S:
            return max(1, math.ceil(ahead_s + self._step_s - BURST_S))
        self._next_s[device_seq] = now + ahead_s + self._step_s
        return 0

    def wait_s(self, source: str, now: float) -> int:
        """For how long nobody who has no session is looked at from an address; 0: they are."""
        return self._failures.wait_s(source, now)

    def note(self, source: str, answer: Answer, now: float) -> None:
        """What somebody without a session was answered."""
        if answer.status in range(400, 500) and answer.code not in _LAWFUL:
            self._failures.take(source, now)


def too_many_calls(wait_s: int) -> Answer:
    """To a device."""
    return come_later(429, "too-many-calls", "this device calls too often", wait_s)


def too_many_failures(source: str, wait_s: int) -> Answer:
    """To whoever calls from an address."""
    words = f"too many calls from {source} were refused: come again in {wait_s} s"
    return come_later(429, "too-many-failures", words, wait_s)
