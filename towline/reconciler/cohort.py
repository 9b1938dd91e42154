"""The order in which a run takes devices: an affine permutation of the dense device numbers.

`position = (seq + off) * mul mod p` is fair (off is uniform), different for each revision, and only
uses `+ * %` below 2^62, so that both engines and Python agree. The step is screened, so that a
small first batch is spread over enrolment lots.
"""

import hashlib
from dataclasses import dataclass
from itertools import count

_SCREEN_REACH = 32
_SCREEN_SHARE = 128


@dataclass(frozen=True, slots=True)
class Order:
    """The numbers that a run freezes: `p` a prime above the highest seq, `mul` = step^-1 mod p."""

    p: int
    step: int
    off: int

    @property
    def mul(self) -> int:
        """The inverse of the step."""
        return pow(self.step, -1, self.p)

    def position(self, seq: int) -> int:
        """Where device `seq` stands; devices enrolled after the freeze come after all others."""
        return (seq + self.off) * self.mul % self.p if seq < self.p else seq

    def device(self, position: int) -> int:
        """The seq that stands at `position` < p."""
        return (position * self.step - self.off) % self.p


def order_for(revision: str, highest_seq: int) -> Order:
    """The order of a revision (64 hex digits) over devices numbered up to `highest_seq`."""
    p = _prime_above(max(highest_seq, 2))
    digest = hashlib.sha256(bytes.fromhex(revision) + p.to_bytes(8, "big")).digest()
    off = int.from_bytes(digest[:8], "big") % p
    first = int.from_bytes(digest[8:16], "big") % (p - 1)
    for attempt in count():
        step = 1 + (first + attempt) % (p - 1)
        if _is_spread(step, p) or attempt >= p:
            return Order(p, step, off)
    raise AssertionError("count() does not end")


def _is_spread(step: int, p: int) -> bool:
    """Positions near each other must not be devices enrolled near each other."""
    distances = (k * step % p for k in range(1, min(_SCREEN_REACH, p - 1) + 1))
    return all(min(d, p - d) * _SCREEN_SHARE >= p for d in distances)


def _prime_above(number: int) -> int:
    return next(n for n in count(number + 1) if _is_prime(n))


def _is_prime(number: int) -> bool:
    if number % 2 == 0:
        return number == 2
    divisor = 3
    while divisor * divisor <= number:
        if number % divisor == 0:
            return False
        divisor += 2
    return number > 1
