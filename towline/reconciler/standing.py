"""What an act on a deployment or a device depends on: two equal standings may be acted on alike.

Progress, presence and what devices say of themselves move all the time; they are no part of it.
"""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Row

from towline.reconciler.store import runs

_OF_DEVICE = ("id", "deviceType", "labels", "timeZone", "state", "verifiesSignatures", "components")


def of_run(connection: Connection, run: Row[Any]) -> dict[str, Any]:
    """A run: its state, what it delivers, its holds, and how far its batches are."""
    batches = runs.batches_of(connection, run.seq)
    return {
        "id": str(run.id),
        "status": run.status,
        "commit": run.source_commit,
        "goesBack": run.goes_back,
        "startRequested": run.start_requested,
        "holds": _holds(connection, run.organization, run.deployment, run.seq),
        "batches": [[batch.number, batch.state] for batch in batches],
    }


def of_waiting(connection: Connection, row: Row[Any]) -> dict[str, Any]:
    """A Deployment that waits for its merge."""
    return {
        "id": str(row.id),
        "status": row.status,
        "holds": _holds(connection, row.organization, row.name, None),
    }


def of_device(document: Mapping[str, Any]) -> dict[str, Any]:
    """A device as the API shows it: its labels, and what it runs and is to run."""
    return {key: document[key] for key in _OF_DEVICE}


def _holds(
    connection: Connection, organization: str, deployment: str, run_seq: int | None
) -> list[list[Any]]:
    held = runs.holds_of(connection, organization, deployment, run_seq)
    return [[hold.reason, hold.author, hold.since, hold.until] for hold in held]
