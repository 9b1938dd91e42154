"""Tells of a Deployment that git does not want yet: what it waits for, and what may be done."""

from typing import Any

from sqlalchemy import Connection, Row

from towline.reconciler import unmerged
from towline.schemas.states import RunState


def explain_unmerged(connection: Connection, row: Row[Any], now: int) -> dict[str, Any]:
    """Its story, with the keys of a run's."""
    shown = unmerged.summary(connection, row, now)
    needs, way = _needs(shown), _way(shown)
    decision = f"{shown['reason']}: {shown['message']}".rstrip(": ")
    lines = [
        f"{shown['name']} {shown['target_version']} is {shown['status']}. There is no run yet.",
        f"Made by {shown['author']} in {shown['commit'][:12]} on branch {row.branch}.",
        f"Now: {decision}.",
        f"  → {way}.",
        f"A commit: {needs}.",
    ]
    return {
        "deployment": shown["name"],
        "id": shown["id"],
        "status": shown["status"],
        "health": shown["health"],
        "reason": shown["reason"],
        "message": shown["message"],
        "commit": shown["commit"],
        "author": shown["author"],
        "subject": "",
        "decision": {"text": decision, "actions": []},
        "holds": shown["holds"],
        "batches": [],
        "silent": [],
        "deadlines": [],
        "limits": {},
        "stallsAt": None,
        "needs": needs,
        "text": "\n".join(lines),
    }


def _needs(shown: dict[str, Any]) -> str:
    where = shown["compare"] or f"branch {shown['branch']}"
    if shown["status"] == RunState.CANCELLED.value:
        return f"none is awaited; a merge of {where} still deploys it"
    return f"the merge of {where}"


def _way(shown: dict[str, Any]) -> str:
    name = shown["name"]
    if shown["status"] == RunState.CANCELLED.value:
        return f"it was given up; delete branch {shown['branch']}, or merge it to deploy it"
    if shown["holds"]:
        return f"`towline resume {name}` ends the hold; the run begins paused until then"
    merge = f"merge it: {shown['compare']}" if shown["compare"] else "it is on its way into force"
    return f"{merge}; or `towline cancel {name}`"
