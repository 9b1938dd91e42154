"""How long the agent waits between polls, and when it wants a fresh document."""

import hashlib
import random
from dataclasses import dataclass
from enum import Enum

from towline.schemas.desired_state import DesiredState

LONG_POLL_S = 25
FIRST_INTERVAL_S = 30
"""Between polls as long as no document names an interval."""
LEAST_PAUSE_S = 1.0
BACKOFF_LIMIT_S = 3600


class Polled(Enum):
    """What came of a poll."""

    CHANGED = "changed"
    PARKED = "parked"
    """Nothing new, and the server held the request as long as it was asked to."""
    UNCHANGED = "unchanged"
    FAILED = "failed"
    REVOKED = "revoked"
    PENDING = "pending"
    """A person must approve this device, who may stand beside it: no pause grows."""


@dataclass(slots=True)
class Rhythm:
    """How long to wait after a poll, in seconds."""

    interval_s: int = FIRST_INTERVAL_S
    failures: int = 0

    def after(self, polled: Polled) -> float:
        """Jitter spreads a fleet; failures in a row double the interval."""
        self.failures = self.failures + 1 if polled is Polled.FAILED else 0
        if polled in (Polled.CHANGED, Polled.PARKED):
            return LEAST_PAUSE_S
        if polled is Polled.REVOKED:
            return BACKOFF_LIMIT_S
        backoff = self.interval_s * 2 ** min(self.failures - 1, 6) if self.failures else 0
        limit = max(self.interval_s, BACKOFF_LIMIT_S)
        return min(max(self.interval_s, backoff), limit) * random.uniform(1.0, 1.3)  # noqa: S311


def renew_at(document: DesiredState) -> int:
    """When this device asks for a fresh document: at 0.4 to 0.8 of the life, by its id."""
    spread = hashlib.sha256(document.device.encode()).digest()[0] / 255
    life = document.expires - document.issued_at
    return document.issued_at + int(life * (0.4 + 0.4 * spread))
