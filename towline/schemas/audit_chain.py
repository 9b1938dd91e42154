"""The chain that the acts of an organization's audit form: each vouches for all before it.

An act is what `GET /audit` shows of it. Its `hash` is the SHA-256 of its canonical JSON without
`id`, `hash` and `device_id`, with its organization, and with the hash of the act before it as
`previous`: who changes, removes or inserts one must change all after it, and the newest hash, which
metrics and logs have told. What follows the last hash that was noted elsewhere can be cut off
unseen.
"""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from towline.schemas import strict_json
from towline.schemas.problems import Refused

BEGIN = "0" * 64
"""What the first act of an organization has as its `previous`."""
_NOT_HASHED = ("id", "hash", "device_id")


def digest(act: Mapping[str, Any], organization: str) -> str:
    """The hash of an act, in hex."""
    told = {key: value for key, value in act.items() if key not in _NOT_HASHED}
    return hashlib.sha256(strict_json.canonical({**told, "organization": organization})).hexdigest()


def check(acts: Iterable[Mapping[str, Any]], organization: str) -> int:
    """How many acts were checked, from the newest back; raises Refused `audit-chain`.

    They are all acts of the organization up to some point: where the first one is among them, its
    `previous` must be BEGIN.
    """
    newer: Mapping[str, Any] | None = None
    count = 0
    for act in acts:
        if digest(act, organization) != act["hash"]:
            raise Refused("audit-chain", f"act {act['number']} is not as it was written")
        if newer is not None and (newer["previous"], newer["number"]) != (
            act["hash"],
            act["number"] + 1,
        ):
            missing = f"between act {act['number']} and act {newer['number']}"
            raise Refused("audit-chain", f"acts are missing, or were put in, {missing}")
        newer = act
        count += 1
    if newer is not None and (newer["number"] == 1) != (newer["previous"] == BEGIN):
        raise Refused("audit-chain", f"act {newer['number']} does not begin the chain as it should")
    return count
