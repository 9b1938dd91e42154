"""Deployments that git does not want yet, as people see them: pending, WaitingForMerge.

A pause is of the Deployment and holds them, too: the run begins paused. They have the keys of a
run, whose id is theirs already, so that whoever reads a list or a detail need not know the
difference.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Row

from towline.reconciler import showing
from towline.reconciler.holding import CLEARED_BY, gravest_first
from towline.reconciler.showing import Sight
from towline.reconciler.store import merge_requests, runs
from towline.reconciler.store.reading import Page, progress
from towline.reconciler.store.reading_batches import hold_document, when
from towline.schemas.states import RunState, TargetState

REASON = "WaitingForMerge"
_HEALTH = {
    RunState.PENDING: "progressing",
    RunState.PAUSED: "paused",
    RunState.CANCELLED: "unknown",
}


def deployments(
    connection: Connection,
    organization: str,
    page: Page,
    sight: Sight,
    *,
    status: RunState | None = None,
    name: str | None = None,
) -> tuple[list[dict[str, Any]], int]:
    """One page of a list that has them first and the runs after them, and how many there are."""
    rows = merge_requests.waiting(connection, organization, name)
    waiting = [summary(connection, row, sight.now) for row in rows]
    if status is not None:
        waiting = [each for each in waiting if each["status"] == status.value]
    start = (page.number - 1) * page.size
    mine = waiting[start : start + page.size]
    rest = Page(page.number, page.size, before=len(waiting))
    shown, total = showing.deployments(
        connection, organization, rest, sight, status=status, name=name
    )
    return [*mine, *shown], total + len(waiting)


def counts(connection: Connection, organization: str, now: int) -> dict[str, int]:
    """How many of them are in which state."""
    rows = merge_requests.waiting(connection, organization)
    return dict(Counter(state(connection, row, now)[0].value for row in rows))


def summary(connection: Connection, row: Row[Any], now: int) -> dict[str, Any]:
    """What a list says of one."""
    status, holds = state(connection, row, now)
    is_over = status is RunState.CANCELLED
    reason, message = ("CancelledByUser", "") if is_over else (REASON, waits_for(row))
    if holds:
        reason, message = holds[0]["reason"], holds[0]["message"]
    content: Mapping[str, Any] = row.metadata
    return {
        "deployment_id": str(row.id),
        "deployment_name": row.title,
        "target_version": content["target_version"],
        "rollout_strategy": content["rollout_strategy"],
        "status": status.value,
        "progress_percentage": 0.0,
        "total_devices": content["target_devices"],
        "completed_devices": 0,
        "failed_devices": 0,
        "created_at": when(row.created_at),
        "started_at": None,
        "name": row.name,
        "id": str(row.id),
        "component": content["component"],
        "targetVersion": content["target_version"],
        "strategy": content["rollout_strategy"],
        "revision": row.revision,
        "turn": content["turn"],
        "isReturn": False,
        "reason": reason,
        "message": message,
        "reasons": [each["reason"] for each in holds] or [reason],
        "holds": holds,
        "commit": content["commit"],
        "author": row.author,
        "startedAt": None,
        "nextDue": None,
        "goesBack": "",
        "counts": {},
        "batches": [],
        "drifted": 0,
        "health": _HEALTH[status],
        "branch": row.branch,
        "compare": row.compare,
    }


def state(connection: Connection, row: Row[Any], now: int) -> tuple[RunState, list[dict[str, Any]]]:
    """Pending, cancelled, or paused by the holds of its Deployment, the gravest first."""
    if row.status == RunState.CANCELLED.value:
        return RunState.CANCELLED, []
    held = [
        hold_document(hold) | {"clearedBy": CLEARED_BY.get(hold.reason, "")}
        for hold in runs.holds_of(connection, row.organization, row.name, None)
        if hold.until is None or hold.until > now
    ]
    held.sort(key=lambda hold: gravest_first(hold["reason"]))
    return RunState.PAUSED if held else RunState.PENDING, held


def detail(connection: Connection, row: Row[Any], now: int) -> dict[str, Any]:
    """The contract's detail of one."""
    return summary(connection, row, now) | {
        "completed_at": None,
        "rollout_percentage": row.metadata["rollout_percentage"],
        "metadata": row.metadata["metadata"],
        "progress": progress({}, row.metadata["target_devices"]),
        "status_breakdown": {state.value: 0 for state in TargetState},
        "devices": [],
        "arms": [],
        "medianSeconds": None,
        "silent": [],
    }


def waits_for(row: Row[Any]) -> str:
    """What must happen, in words, with where it is looked at."""
    if not row.compare:
        return f"its commit is on {row.branch} and not in force yet"
    return f"branch {row.branch} is not merged yet: {row.compare}"
