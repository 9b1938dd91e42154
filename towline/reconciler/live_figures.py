"""What a live view shows of a run, of the fleet and of a device: figures, and what happened."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row

from towline.reconciler.gate_words import gate_words
from towline.reconciler.holding import gravest_first
from towline.reconciler.store import (
    reading,
    reading_devices,
    reading_events,
    reading_fleet,
    reading_live,
    runs,
    targets,
)
from towline.reconciler.store.reading_batches import holds_by_run
from towline.reconciler.store.reading_events import EventFilter
from towline.reconciler.verdict import tally
from towline.schemas.states import FINISHED_RUNS, TargetState

TOLD_LIMIT = 100
"""So many events are read at once."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What is looked at: a run, a device, or with neither the fleet of the organization."""

    organization: str
    deployment: str | None = None
    """A name, for its newest run, or a run's UUID."""
    device: str | None = None


def figures(connection: Connection, subject: Subject, seen_after: int) -> dict[str, Any] | None:
    """The figures now; None when there is no such thing."""
    if subject.deployment is not None:
        run = reading.find_run(connection, subject.organization, subject.deployment)
        return None if run is None else _run(connection, run)
    if subject.device is not None:
        return _device(connection, subject, seen_after)
    return _fleet(connection, subject.organization, seen_after)


def is_over(shown: Mapping[str, Any]) -> bool:
    """True when the figures are of a run that ended."""
    return shown.get("status") in FINISHED_RUNS


def happened(connection: Connection, subject: Subject, after: int) -> list[dict[str, Any]]:
    """The events behind number `after`, oldest first; of devices only where one is looked at."""
    name = subject.deployment
    if name is not None:
        run = reading.find_run(connection, subject.organization, name)
        name = run.deployment if run is not None else name
    # A filter takes 0 for "the newest ones".
    number = after or -1
    wanted = EventFilter(name, subject.device, number, without_devices=subject.device is None)
    found = reading_events.events(connection, subject.organization, wanted, TOLD_LIMIT)
    keys = ("id", "lastAt", "kind", "deployment", "device", "reason", "message", "cause")
    return [{key: event[key] for key in keys} for event in found]


def _run(connection: Connection, run: Row[Any]) -> dict[str, Any]:
    by_batch = reading_live.counts_by_batch(connection, run.seq)
    sums = _sums(by_batch)
    reasons = sorted(
        (hold["reason"] for hold in holds_by_run(connection, [run]).get(run.seq, [])),
        key=gravest_first,
    )
    return {
        "deployment_id": str(run.id),
        "name": run.deployment,
        "status": run.status,
        "reason": reasons[0] if reasons else run.reason,
        "holds": reasons,
        "progress": reading.progress(sums, run.target_count),
        "status_breakdown": {state.value: sums.get(state, 0) for state in TargetState},
        "batches": _batches(connection, run, by_batch),
    }


def _batches(
    connection: Connection, run: Row[Any], by_batch: Mapping[int, Mapping[str, int]]
) -> list[dict[str, Any]]:
    groups = targets.groups_by_batch(connection, run.seq)
    return [
        {
            "number": batch.number,
            "name": batch.name,
            "state": batch.state,
            "counts": dict(by_batch.get(batch.number, {})),
            "gate": gate_words(tally(groups.get(batch.number, ())), batch.success_threshold),
        }
        for batch in runs.batches_of(connection, run.seq)
    ]


def _sums(by_batch: Mapping[int, Mapping[str, int]]) -> dict[str, int]:
    sums: dict[str, int] = {}
    for counts in by_batch.values():
        for status, n in counts.items():
            sums[status] = sums.get(status, 0) + n
    return sums


def _fleet(connection: Connection, organization: str, seen_after: int) -> dict[str, Any]:
    live = {}
    for run in reading_live.live_runs(connection, organization):
        sums = _sums(reading_live.counts_by_batch(connection, run.seq))
        progress = reading.progress(sums, run.target_count)
        live[str(run.id)] = {
            "status": run.status,
            "completed": progress["completed"],
            "failed": progress["failed"],
            "total": progress["total_devices"],
        }
    return {
        "fleet": reading_fleet.presence_counts(connection, organization, seen_after)
        | reading_fleet.trouble_counts(connection, organization),
        "runs": reading_fleet.run_counts(connection, organization),
        "live": live,
    }


def _device(connection: Connection, subject: Subject, seen_after: int) -> dict[str, Any] | None:
    assert subject.device is not None
    found = reading_devices.device(
        connection, subject.organization, subject.device, seen_after=seen_after
    )
    if found is None:
        return None
    keys = ("current", "desired", "state", "reason", "attempt")
    return {
        "device": found["id"],
        "online": found["online"],
        "components": {
            name: {key: part[key] for key in keys} for name, part in found["components"].items()
        },
    }
