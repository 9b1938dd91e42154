"""What a live view shows of a run, of the fleet and of a device: figures, and what happened.

Each has a `shape`: while that stays the same, a page that shows the figures needs nothing else;
when it changes, there is more to lay out.
"""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
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

_EVENT_KEYS = ("id", "lastAt", "kind", "deployment", "device", "reason", "message", "cause")
_COMPONENT_KEYS = ("current", "desired", "state", "reason", "attempt")


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
        return None if run is None else run_figures(connection, run)
    if subject.device is not None:
        found = reading_devices.device(
            connection, subject.organization, subject.device, seen_after=seen_after
        )
        return None if found is None else device_figures(found)
    return _fleet(connection, subject.organization, seen_after)


def is_over(shown: Mapping[str, Any]) -> bool:
    """True when the figures are of a run that ended."""
    return shown.get("status") in FINISHED_RUNS


def happened(
    connection: Connection, subject: Subject, after: int, newest: int, limit: int
) -> list[dict[str, Any]]:
    """The events behind number `after` up to `newest`; of devices only where one is looked at."""
    name = subject.deployment
    if name is not None:
        run = reading.find_run(connection, subject.organization, name)
        name = run.deployment if run is not None else name
    wanted = EventFilter(
        name,
        subject.device,
        after or -1,  # a filter takes 0 for "the newest ones"
        before=newest + 1,
        without_devices=subject.device is None,
    )
    found = reading_events.events(connection, subject.organization, wanted, limit)
    return [{key: event[key] for key in _EVENT_KEYS} for event in found]


def run_figures(connection: Connection, run: Row[Any]) -> dict[str, Any]:
    """Of one run: counts in all and by batch, gates, and what holds it."""
    by_batch = reading_live.counts_by_batch(connection, run.seq)
    sums = Counter[str]()
    for counts in by_batch.values():
        sums.update(counts)
    shown = {
        "deployment_id": str(run.id),
        "name": run.deployment,
        "status": run.status,
        **_why(run, holds_by_run(connection, [run]).get(run.seq, [])),
        "progress": reading.progress(sums, run.target_count),
        "status_breakdown": {state.value: sums[state] for state in TargetState},
        "batches": _batches(connection, run, by_batch),
    }
    states = [(batch["number"], batch["state"]) for batch in shown["batches"]]
    failed = shown["progress"]["failed"]
    return shown | {"shape": _shape(run.id, run.status, shown["reasons"], states, failed)}


def device_figures(device: Mapping[str, Any]) -> dict[str, Any]:
    """Of one device, as the store reads it: what it runs, is to run, and how far that is."""
    components = {
        name: {key: part[key] for key in _COMPONENT_KEYS}
        for name, part in device["components"].items()
    }
    return {
        "device": device["id"],
        "presence": "online" if device["online"] else "offline",
        "components": components,
        "shape": _shape(device["id"], sorted(components.items())),
    }


def fleet_shape(connection: Connection, organization: str) -> str:
    """The shape of the fleet's figures, without the figures."""
    rows = reading_live.shown_runs(connection, organization)
    return _shape_of_fleet(rows, reading_fleet.run_counts(connection, organization))


def _fleet(connection: Connection, organization: str, seen_after: int) -> dict[str, Any]:
    rows = reading_live.shown_runs(connection, organization)
    counts = reading_fleet.run_counts(connection, organization)
    return {
        "fleet": reading_fleet.presence_counts(connection, organization, seen_after)
        | reading_fleet.trouble_counts(connection, organization),
        "runs": counts,
        "deployments": _deployments(connection, rows),
        "shape": _shape_of_fleet(rows, counts),
    }


def _shape_of_fleet(rows: Sequence[Row[Any]], counts: Mapping[str, int]) -> str:
    """Which runs there are, and how many are in which state."""
    return _shape([run.id for run in rows], sorted(counts.items()))


def _deployments(connection: Connection, rows: Sequence[Row[Any]]) -> dict[str, dict[str, Any]]:
    """By UUID."""
    counts = reading.counts_by_run(connection, [run.seq for run in rows])
    holds = holds_by_run(connection, rows)
    shown = {}
    for run in rows:
        progress = reading.progress(counts.get(run.seq, {}), run.target_count)
        shown[str(run.id)] = {
            "status": run.status,
            **_why(run, holds.get(run.seq, [])),
            "completed": progress["completed"],
            "failed": progress["failed"],
            "total": progress["total_devices"],
        }
    return shown


def _why(run: Row[Any], holds: list[dict[str, Any]]) -> dict[str, Any]:
    """The reason in words: the gravest hold's, else the run's own; and all of them."""
    held = sorted(holds, key=lambda hold: gravest_first(hold["reason"]))
    first = held[0] if held else {"reason": run.reason, "message": run.message}
    return {
        "reason": first["reason"],
        "message": first["message"],
        "reasons": list(filter(None, (hold["reason"] for hold in held or [first]))),
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


def _shape(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:12]
