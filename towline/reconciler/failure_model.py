"""How the devices of a simulation fare: shares that fail or are silent, and how long steps take.

Pure values and draws. Whether a release fails on a device depends on nothing but the seed, the
device and the release, so that a second attempt fails like the first one.
"""

import hashlib
import math
import random
from collections.abc import Mapping
from dataclasses import dataclass

SPREAD = 0.4
"""Of the logarithm of a step's length: two thirds lie between 0.67 and 1.49 medians."""
_WHOLE = 1 << 64


@dataclass(frozen=True, slots=True)
class Lengths:
    """Medians of a device's steps, in seconds."""

    download_s: int = 120
    install_s: int = 60
    verify_s: int = 30


@dataclass(frozen=True, slots=True)
class LabelledRate:
    """The release fails on this share of the devices that have the label."""

    key: str
    value: str
    share: float


@dataclass(frozen=True, slots=True)
class FailureModel:
    """Everything that a simulation supposes; shares are from 0 to 1."""

    lengths: Lengths = Lengths()
    bad_rate: float = 0.0
    """Share of the devices on which the release fails its health check."""
    labelled: tuple[LabelledRate, ...] = ()
    """Devices with one of these labels fail at its rate instead; the greatest one wins."""
    offline: float = 0.0
    """Share of the devices in touch that are not, from the beginning on."""
    offline_for_s: int | None = None
    """Median after which a device that is not in touch is back; None: it stays away."""

    def rate(self, labels: Mapping[str, str]) -> float:
        """How often the release fails on devices with these labels."""
        found = [each.share for each in self.labelled if labels.get(each.key) == each.value]
        return max(found, default=self.bad_rate)


class Chance:
    """The draws of one run: the same seed and the same questions give the same answers."""

    def __init__(self, seed: str) -> None:
        self._seed = seed.encode()
        self._random = random.Random(seed)  # noqa: S311 a simulation must be repeatable

    def share(self) -> float:
        """From 0 up to, not including, 1; all alike likely."""
        return self._random.random()

    def length(self, median_s: int) -> float:
        """Seconds of a step that takes this long in the middle."""
        return median_s * math.exp(self._random.gauss(0, SPREAD))

    def is_bad(self, device_seq: int, sha256: str, rate: float) -> bool:
        """The release with this checksum fails on the device."""
        words = b"%s %d %s" % (self._seed, device_seq, sha256.encode())
        drawn = hashlib.blake2b(words, digest_size=8).digest()
        return int.from_bytes(drawn) / _WHOLE < rate
