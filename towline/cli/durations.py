"""Lengths of time as people type them at commands."""

import re

from towline.cli.exit_codes import Misused

_DURATION = re.compile(r"(\d+)([smhd])")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def seconds(text: str) -> int:
    """`30m` -> 1800; raises Misused."""
    found = _DURATION.fullmatch(text)
    if found is None:
        raise Misused(f"{text!r} is no duration", remedy="write 90s, 30m, 2h or 1d")
    return int(found[1]) * _UNITS[found[2]]
