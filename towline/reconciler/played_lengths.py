"""How long each step of a simulated device takes, in seconds, drawn anew for each."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row

from towline.reconciler.failure_model import Chance, Lengths

REPORTS_AGAIN_S = 2
"""After an install a device does not wait for its next poll to ask what is wanted now."""


@dataclass(frozen=True, slots=True)
class DrawnLengths:
    """Lengths of the steps that a target's device is in."""

    medians: Lengths
    chance: Chance

    def download_s(self, _target: Row[Any]) -> float:
        """From the fetch of its document to the release that lies there."""
        return self.chance.length(self.medians.download_s)

    def install_s(self, target: Row[Any]) -> float:
        """What is not staged yet is downloaded first; what goes back lies there."""
        is_there = target.staged_at is not None or target.goes_back
        return (0.0 if is_there else self.download_s(target)) + self.left_s(target)

    def left_s(self, _target: Row[Any]) -> float:
        """Install and checks."""
        medians = self.medians
        return self.chance.length(medians.install_s) + self.chance.length(medians.verify_s)

    def again_s(self, _target: Row[Any]) -> float:
        """From the end of an install to the report that shows it."""
        return REPORTS_AGAIN_S
