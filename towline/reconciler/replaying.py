"""A replay of a store's record as a document: what stood at a time, and whether it is true.

Read in one transaction, so that the record and what it is compared with are of the same moment.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection

from towline.reconciler.replay import Rebuilt, compare, older_runs, replay
from towline.reconciler.store import changes
from towline.reconciler.store.changes import TOLD_OF_TARGETS
from towline.schemas import times

DIFFERENCES_LIMIT = 100
_BATCH, _STATUS = TOLD_OF_TARGETS.index("batch"), TOLD_OF_TARGETS.index("status")


def replay_store(
    connection: Connection,
    organization: str,
    until: int | None = None,
    name: str | None = None,
) -> dict[str, Any]:
    """Replay all of it, or up to a time; `name` shows one Deployment only.

    `differences` is there without `until` only: what is stored is as of now.
    """
    rebuilt = replay(changes.recorded(connection, organization), until)
    document: dict[str, Any] = {
        "at": _when(until),
        "since": _when(rebuilt.since),
        "changes": rebuilt.changes,
        "rebuilt": {table: len(rows) for table, rows in rebuilt.tables().items()},
        "deployments": _deployments(rebuilt, name),
    }
    if until is None:
        stored = stored_rows(connection, organization)
        differences = compare(rebuilt, stored)
        document |= {
            "olderRuns": len(older_runs(rebuilt, stored)),
            "differences": len(differences),
            "firstDifferences": [str(each) for each in differences[:DIFFERENCES_LIMIT]],
        }
    return document


def stored_rows(connection: Connection, organization: str) -> Rebuilt:
    """The rows of the store in the form of a replay."""
    rows = changes.stored(connection, organization)
    told = {
        table: [changes.row_values(table, row) for row in rows[table]]
        for table in ("runs", "batches", "holds")
    }
    return Rebuilt(
        runs={row["seq"]: row for row in told["runs"]},
        batches={(row["run_seq"], row["number"]): row for row in told["batches"]},
        holds={row["id"]: row for row in told["holds"]},
        targets={
            (row.run_seq, row.device_seq): tuple(getattr(row, name) for name in TOLD_OF_TARGETS)
            for row in rows["targets"]
        },
    )


def _deployments(rebuilt: Rebuilt, name: str | None) -> list[dict[str, Any]]:
    """The newest run of each Deployment as it stood, by name."""
    newest = {run["deployment"]: run for _, run in sorted(rebuilt.runs.items())}
    counts: dict[tuple[int, int], Counter[str]] = {}
    for (run, _), target in rebuilt.targets.items():
        counts.setdefault((run, target[_BATCH]), Counter())[target[_STATUS]] += 1
    return [
        _deployment(rebuilt, run, counts)
        for deployment, run in sorted(newest.items())
        if name in (None, deployment)
    ]


def _deployment(
    rebuilt: Rebuilt, run: Mapping[str, Any], counts: Mapping[tuple[int, int], Counter[str]]
) -> dict[str, Any]:
    batches = [
        {
            "number": number,
            "name": batch["name"],
            "state": batch["state"],
            "size": batch["size"],
            "counts": dict(sorted(counts.get((run_seq, number), {}).items())),
        }
        for (run_seq, number), batch in sorted(rebuilt.batches.items())
        if run_seq == run["seq"]
    ]
    holds = [
        {"reason": hold["reason"], "message": hold["message"], "since": _when(hold["since"])}
        for _, hold in sorted(rebuilt.holds.items())
        if hold["deployment"] == run["deployment"] and hold["run_seq"] in (None, run["seq"])
    ]
    return {
        "name": run["deployment"],
        "run": run["id"],
        "status": run["status"],
        "reason": run["reason"],
        "message": run["message"],
        "targetVersion": run["target_version"],
        "devices": run["target_count"],
        "commit": run["source_commit"],
        "batches": batches,
        "holds": holds,
    }


def _when(seconds: int | None) -> str | None:
    return None if seconds is None else times.to_rfc3339(seconds)
