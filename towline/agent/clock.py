"""The time as far as the device can know it; devices without a battery wake up in 1970.

The kernel says whether something keeps the system's clock right. Where nothing does, time goes on
from what the last accepted document said.
"""

import ctypes
import time

from towline.schemas.verifier import Clock

_STA_UNSYNC = 0x0040


class _Timex(ctypes.Structure):
    """The head of struct timex, adjtimex(2); the rest is room."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_char * 256),
    )


def system_clock() -> Clock:
    """The system's clock; synchronised when the kernel says so."""
    timex = _Timex()
    is_known = ctypes.CDLL(None).adjtimex(ctypes.byref(timex)) >= 0
    return Clock(int(time.time()), is_known and not timex.status & _STA_UNSYNC)


class Timekeeper:
    """The least time that can be true: a floor, and what passed since it was set."""

    def __init__(self, floor: int) -> None:
        self._floor = floor
        self._since = time.monotonic()

    def raise_floor(self, floor: int) -> None:
        """A newer document was accepted."""
        self._floor, self._since = floor, time.monotonic()

    def now(self) -> int:
        """Seconds since the epoch, never too late by more than the system's synchronised clock."""
        clock = system_clock()
        passed = self._floor + int(time.monotonic() - self._since)
        return max(passed, clock.now if clock.is_synchronised else 0)
