"""How a bench ends that is told to: as by Ctrl-C, so that whatever it began ends with it."""

import signal
import sys
from types import FrameType


def end_with_cleaning() -> None:
    """On SIGTERM and SIGHUP leave all blocks, which end their processes and remove their files."""
    for each in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, _leave)


def _leave(number: int, _: FrameType | None) -> None:
    # Once is enough: what a block does at its end is not to be broken off.
    for each in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, signal.SIG_IGN)
    sys.exit(128 + number)
