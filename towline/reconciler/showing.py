"""Deployments as people see them: their rows together with what a clock, git and silence add.

`store.reading` gives what is stored; here the gravest hold goes first and says who clears it,
health is derived, and each batch says what it waits for.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row

from towline.manifests.model import BatchPlan, SizeKind
from towline.reconciler.head import Head
from towline.reconciler.holding import CLEARED_BY, gravest_first
from towline.reconciler.layout import plans_for
from towline.reconciler.observe import SEEN_POLLS
from towline.reconciler.store import reading, reading_batches, reading_health
from towline.reconciler.store.reading import Page
from towline.reconciler.store.reading_batches import when
from towline.reconciler.store.reading_health import Silent
from towline.schemas import times
from towline.schemas.states import LIVE_RUNS, PASSED_BATCHES, BatchState, RunState

_HEALTH = {
    RunState.PENDING: "progressing",
    RunState.IN_PROGRESS: "progressing",
    RunState.PAUSED: "paused",
    RunState.COMPLETED: "healthy",
    RunState.FAILED: "failed",
    RunState.CANCELLED: "unknown",
}


@dataclass(frozen=True, slots=True)
class Sight:
    """From where it is seen: the time, what is in force, and how often devices poll."""

    now: int
    head: Head | None
    """None until the first commit was applied."""
    poll_interval_s: int

    @property
    def seen_after(self) -> int:
        """Devices that were not seen after this time are offline."""
        return self.now - SEEN_POLLS * self.poll_interval_s


def deployments(
    connection: Connection,
    organization: str,
    page: Page,
    sight: Sight,
    *,
    status: RunState | None = None,
    name: str | None = None,
) -> tuple[list[dict[str, Any]], int]:
    """One page of runs, newest first, and how many there are."""
    rows, total = reading.runs_page(connection, organization, page, status=status, name=name)
    return _shown(connection, rows, reading.summaries(connection, rows), sight), total


def summary(connection: Connection, run: Row[Any], sight: Sight) -> dict[str, Any]:
    """What a list says of one run."""
    (shown,) = summaries(connection, [run], sight)
    return shown


def summaries(
    connection: Connection, rows: Sequence[Row[Any]], sight: Sight
) -> list[dict[str, Any]]:
    """The same of several runs."""
    return _shown(connection, rows, reading.summaries(connection, rows), sight)


def deployment(connection: Connection, run: Row[Any], sight: Sight) -> dict[str, Any]:
    """The contract's detail of a run, without its devices; with its arms and who is silent."""
    stored = reading.deployment(connection, run)
    (shown,) = _shown(connection, [run], [stored], sight)
    arms = reading_batches.arms_by_batch(connection, run.seq)
    for batch in shown["batches"]:
        _add_arms(batch, arms.get(batch["number"], []))
    _add_arms(shown, arms.get(None, []))
    quiet = reading_health.silent(connection, run.seq, sight.seen_after)
    return shown | {"silent": [_silent(each) for each in quiet]}


def _shown(
    connection: Connection,
    rows: Sequence[Row[Any]],
    documents: Sequence[dict[str, Any]],
    sight: Sight,
) -> list[dict[str, Any]]:
    seqs = [row.seq for row in rows]
    drifted = reading_health.drifted(connection, seqs)
    silent = reading_health.silent_runs(connection, seqs, sight.seen_after)
    return [
        _document(row, document, drifted.get(row.seq, 0), row.seq in silent, sight)
        for row, document in zip(rows, documents, strict=True)
    ]


def _document(
    run: Row[Any], document: dict[str, Any], drifted: int, is_silent: bool, sight: Sight
) -> dict[str, Any]:
    holds = [
        hold | {"clearedBy": CLEARED_BY.get(hold["reason"], "")}
        for hold in sorted(document["holds"], key=lambda hold: gravest_first(hold["reason"]))
    ]
    reason, message = run.reason, run.message
    waits = _waits(reason, message)
    if holds:
        reason, message = holds[0]["reason"], holds[0]["message"]
        waits = f"{holds[0]['clearedBy']} ({reason})"
    return document | {
        "reason": reason,
        "message": message,
        "reasons": list(dict.fromkeys(filter(None, [reason, *(h["reason"] for h in holds)]))),
        "holds": holds,
        "drifted": drifted,
        "health": health(
            RunState(run.status), document["failed_devices"], drifted, is_silent=is_silent
        ),
        "batches": _batches(run, document["batches"], waits, sight),
    }


def _waits(reason: str, message: str) -> str:
    """What the batch at hand waits for while nothing holds the run."""
    if reason == "RollingOut":
        return "the verdicts of its devices"
    return f"{reason}: {message}".rstrip(": ")


def health(status: RunState, failed: int, drifted: int, *, is_silent: bool) -> str:
    """One word; a run whose devices are all silent is unknown, and one that is held never green."""
    if status not in (RunState.IN_PROGRESS, RunState.COMPLETED):
        return _HEALTH[status]
    if is_silent:
        return "unknown"
    return "degraded" if failed or drifted else _HEALTH[status]


def _batches(
    run: Row[Any], opened: list[dict[str, Any]], waits: str, sight: Sight
) -> list[dict[str, Any]]:
    """The opened batches, and after them those that the strategy still lays out."""
    shown: list[dict[str, Any]] = []
    is_live = RunState(run.status) in LIVE_RUNS
    for batch in opened:
        is_over = BatchState(batch["state"]) in PASSED_BATCHES or not is_live
        current = "" if is_over else _waits_for(batch, waits, sight.now)
        shown.append(batch | {"waitsFor": current})
        waits = waits if is_over else f"batch {batch['name']}"
    for plan in _planned(run, opened, sight) if is_live else ():
        shown.append(_planned_batch(len(shown), plan) | {"waitsFor": waits})
        waits = f"batch {plan.name}"
    return shown


def _waits_for(batch: Mapping[str, Any], waits: str, now: int) -> str:
    soaks = batch["state"] == BatchState.SOAKING and batch["soakedAt"]
    if soaks and times.from_rfc3339(batch["soakedAt"]) > now:
        return f"its soak, until {batch['soakedAt']}"
    return waits


def _planned(
    run: Row[Any], opened: Sequence[Mapping[str, Any]], sight: Sight
) -> Sequence[BatchPlan]:
    head = sight.head if sight.head and sight.head.organization == run.organization else None
    manifest = head.deployments.get(run.deployment) if head else None
    is_complete = bool(opened) and opened[-1]["isLast"]
    if manifest is None or manifest.revision != run.revision or run.goes_back or is_complete:
        return ()
    began_alone = bool(opened[0]["isAlone"]) if opened else None
    plans = plans_for(manifest, is_return=run.is_return, began_alone=began_alone)
    return plans[len(opened) :]


def _planned_batch(number: int, plan: BatchPlan) -> dict[str, Any]:
    return {
        "number": number,
        "name": plan.name,
        "state": BatchState.WAITING.value,
        "size": None,
        "plannedSize": _planned_size(plan),
        "isAlone": plan.is_alone,
        "isLast": plan.size is SizeKind.REST,
        "successThreshold": plan.success_threshold,
        "soak": plan.soak_s,
        "openedAt": None,
        "lastVerdictAt": None,
        "soakedAt": None,
        "endedAt": None,
        "counts": {},
    }


def _planned_size(plan: BatchPlan) -> str:
    match plan.size:
        case SizeKind.SHARE:
            return f"{plan.amount} %"
        case SizeKind.COUNT:
            return str(plan.amount)
    return "the rest"


def _add_arms(document: dict[str, Any], arms: Iterable[Mapping[str, Any]]) -> None:
    """The sides of an experiment; without one only the median."""
    found = list(arms)
    document["arms"] = [dict(arm) for arm in found if arm["arm"] is not None]
    alone = [arm["medianSeconds"] for arm in found if arm["arm"] is None]
    document["medianSeconds"] = alone[0] if alone else None


def _silent(each: Silent) -> dict[str, Any]:
    return {
        "device_id": each.device,
        "lastSeen": when(each.last_seen),
        "status": each.state.value,
        "reason": each.reason,
        "version": each.version,
        "attempt": each.attempt,
        "grantedAt": when(each.granted_at),
        "goesBack": each.goes_back,
    }
