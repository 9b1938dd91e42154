"""What a device says while it is pending: that it downloads ahead, is staged, or waits to install.

A device that waits for a window or a lock is not late: its deadline stands still meanwhile.
"""

from typing import Any

from sqlalchemy import Connection, Row

from towline.reconciler.store import dirt
from towline.reconciler.store.reporters import Reporter
from towline.reconciler.store.targets import change_one
from towline.schemas.reports import Attempt
from towline.schemas.states import ACTIVE_TARGETS, TargetState

STANDS_STILL = frozenset({"WaitingForWindow", "Locked", "MeteredLink"})
"""Reasons for which deviceTimeout does not count; a retry wait is none of them."""
_TOLD = STANDS_STILL | {"Preparing", "Staged", "WaitingForRetry"}


def note(
    connection: Connection, now: int, reporter: Reporter, target: Row[Any], attempt: Attempt
) -> None:
    """Keep what the device says; what it does not know to say changes nothing."""
    if target.reason == "OfflineDeferred" and attempt.reason == "Staged":
        # It was busy downloading, not away. Once it is back its document asks for nothing new, so
        # it will not say so again.
        change_one(connection, target, staged_at=target.staged_at or now)
        return
    if TargetState(target.status) not in ACTIVE_TARGETS or attempt.reason not in _TOLD:
        return
    change_one(connection, target, **_values(now, target, attempt))
    dirt.mark(connection, reporter.organization, target.deployment)


def _values(now: int, target: Row[Any], attempt: Attempt) -> dict[str, Any]:
    values: dict[str, Any] = {
        "reason": attempt.reason,
        "progress": attempt.progress,
        "error_message": attempt.message or None,
    }
    if attempt.reason == "Staged":
        values |= {"staged_at": target.staged_at or now}
        # Preparing is over, and its clock; an install that waits has its own.
        values |= {"deadline": None} if target.granted_at is None else over(now, target)
    elif attempt.reason in STANDS_STILL:
        values |= {"waits": attempt.reason, "waits_since": target.waits_since or now}
    else:
        values |= over(now, target)
    return values


def over(now: int, target: Row[Any]) -> dict[str, Any]:
    """The wait is over: the deadline moves by as long as it stood still."""
    if not target.waits:
        return {}
    still_s = now - target.waits_since
    deadline = None if target.deadline is None else target.deadline + still_s
    return {"waits": "", "waits_since": None, "deadline": deadline, "error_message": None}
