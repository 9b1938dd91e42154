"""Times on the wire: RFC 3339 in UTC with whole seconds, as seconds since the epoch inside."""

import re
from datetime import UTC, datetime
from functools import lru_cache

from towline.schemas.problems import Refused

LATEST = 253_402_300_799
"""The last second that RFC 3339 can write: the end of the year 9999."""
_RFC3339 = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z")


def to_rfc3339(seconds: float) -> str:
    """`1795546800` -> `2026-11-24T19:00:00Z`."""
    return _written(int(seconds))


@lru_cache(256)
def _written(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def from_rfc3339(text: object) -> int:
    """Seconds since the epoch; raises Refused `time-format`."""
    if not isinstance(text, str) or _RFC3339.fullmatch(text) is None:
        raise Refused("time-format", str(text)[:40])
    try:
        return int(datetime.fromisoformat(text[:-1] + "+00:00").timestamp())
    except ValueError:
        raise Refused("time-format", text) from None
