"""How many reports go into one request: the server takes at most 64 KiB and says no to more."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

BATCH_LIMIT_BYTES = 60_000
"""Of the encoded body, below the server's 65536."""

_COMPACT = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


def encode(reports: Sequence[Mapping[str, Any]]) -> bytes:
    """The body of a request; half of a surrogate pair, as file names may have it, becomes `?`."""
    return _COMPACT.encode(list(reports)).encode("utf-8", "replace")


def batch(outbox: Sequence[dict[str, Any]], count_limit: int) -> Sequence[dict[str, Any]]:
    """The oldest reports that fit into one request; at least one, if there is any."""
    size = 1
    for count, waiting in enumerate(outbox[:count_limit]):
        # One of the brackets around it weighs what separates it from the next: the sum is exact.
        size += len(encode([waiting])) - 1
        if count and size > BATCH_LIMIT_BYTES:
            return outbox[:count]
    return outbox[:count_limit]
