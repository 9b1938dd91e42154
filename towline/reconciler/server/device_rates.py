"""How often devices may call: each in its session, and without one those who are refused.

Whoever is in a session is known, so that others at the same address never slow it down. Whoever is
not costs a signature to be looked at; who was refused too often waits before that.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from towline.reconciler.server.buckets import Buckets
from towline.reconciler.server.traces import Traces
from towline.reconciler.server.wire import Answer, come_later

BURST_S = 10
"""So many seconds' calls of a device may come at once."""
FAILURES_BURST_S = 60
KNOWN_FAILURES_PER_S = 1
"""Refusals of one known device at one address: an agent asks far more rarely."""
_LAWFUL = frozenset({"clock"})
"""Refusals of those who have shown who they are."""


@dataclass(frozen=True, slots=True)
class RateLimits:
    """What is generous for a real fleet, also one behind a single address."""

    of_device: int = 50
    """Calls of one device in a second: polls, and requests with reports."""
    failures: int = 10
    """Refused enrolments and sessions of one address in a second, known devices' left out."""


GENEROUS = RateLimits()


class DeviceRates:
    """Counts both; whoever asks says what time it is. Belongs to the event loop's thread."""

    def __init__(self, limits: RateLimits) -> None:
        self._step_s = 1 / limits.of_device
        self._failures = Buckets(limits.failures * FAILURES_BURST_S, limits.failures)
        known_burst = KNOWN_FAILURES_PER_S * FAILURES_BURST_S
        self._failures_of_known = Buckets(known_burst, KNOWN_FAILURES_PER_S)

    def take(self, of: Traces, now: float) -> int:
        """Count a call: 0 when it may be served, else the whole seconds until one may."""
        ahead_s = of.due_s - now
        if not 0 <= ahead_s <= BURST_S:
            ahead_s = 0.0  # long ago, or the clock went back
        if ahead_s + self._step_s > BURST_S:
            return max(1, math.ceil(ahead_s + self._step_s - BURST_S))
        of.due_s = now + ahead_s + self._step_s
        return 0

    def wait_s(self, source: str, now: float) -> int:
        """For how long nobody unknown is looked at from an address; 0: they are."""
        return self._failures.wait_s(source, now)

    def wait_of_known_s(self, source: str, claim: Sequence[str], now: float) -> int:
        """For how long those who claim to be this device are not looked at from an address."""
        return self._failures_of_known.wait_s(_place(source, claim), now)

    def note_refused(self, source: str, known: Sequence[str] | None, now: float) -> None:
        """Somebody without a session was refused: a known device, or anybody else."""
        if known is None:
            self._failures.take(source, now)
        else:
            self._failures_of_known.take(_place(source, known), now)


def is_counted(answer: Answer) -> bool:
    """Whether somebody without a session was refused who should not have asked."""
    return answer.status in range(400, 500) and answer.code not in _LAWFUL


def _place(source: str, claim: Sequence[str]) -> str:
    """A device at an address; nothing in it has a space."""
    return " ".join((source, *claim))


def too_many_calls(wait_s: int) -> Answer:
    """To a device."""
    return come_later(429, "too-many-calls", "this device calls too often", wait_s)


def too_many_failures(source: str, wait_s: int) -> Answer:
    """To whoever calls without a session."""
    words = f"too many such calls from {source} were refused: come again in {wait_s} s"
    return come_later(429, "too-many-failures", words, wait_s)
