"""Deployments that git does not want yet, as people see them: pending, WaitingForMerge.

They have the keys of a run, whose id is theirs already, so that whoever reads a list or a detail
need not know the difference.
"""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Row

from towline.reconciler import showing
from towline.reconciler.showing import Sight
from towline.reconciler.store import merge_requests
from towline.reconciler.store.reading import Page, progress
from towline.reconciler.store.reading_batches import when
from towline.schemas.states import RunState, TargetState

REASON = "WaitingForMerge"


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
    waiting = merge_requests.waiting(connection, organization, status=status, name=name)
    start = (page.number - 1) * page.size
    mine = [summary(row) for row in waiting[start : start + page.size]]
    rest = Page(page.number, page.size, before=len(waiting))
    shown, total = showing.deployments(
        connection, organization, rest, sight, status=status, name=name
    )
    return [*mine, *shown], total + len(waiting)


def summary(row: Row[Any]) -> dict[str, Any]:
    """What a list says of one."""
    is_pending = row.status == RunState.PENDING.value
    reason, message = (REASON, waits_for(row)) if is_pending else ("CancelledByUser", "")
    content: Mapping[str, Any] = row.metadata
    return {
        "deployment_id": str(row.id),
        "deployment_name": row.title,
        "target_version": content["target_version"],
        "rollout_strategy": content["rollout_strategy"],
        "status": row.status,
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
        "reasons": [reason],
        "holds": [],
        "commit": content["commit"],
        "author": row.author,
        "startedAt": None,
        "nextDue": None,
        "goesBack": "",
        "counts": {},
        "batches": [],
        "drifted": 0,
        "health": "progressing" if is_pending else "unknown",
        "branch": row.branch,
        "compare": row.compare,
    }


def detail(row: Row[Any]) -> dict[str, Any]:
    """The contract's detail of one."""
    return summary(row) | {
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
