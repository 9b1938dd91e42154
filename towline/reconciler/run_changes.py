"""Changes of a run that decisions and people make alike: its end, the way back, its status word."""

from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, Row

from towline.reconciler.holding import gravest_first
from towline.reconciler.store import grants, runs, walked
from towline.reconciler.store.events import Event, record
from towline.schemas.states import FINISHED_RUNS, RunState


def record_for(connection: Connection, run: Row[Any], *events: Event, now: int) -> None:
    """Append events about a run."""
    filled = [
        replace(event, deployment=run.deployment, run=run.id, commit=run.source_commit)
        for event in events
    ]
    record(connection, run.organization, now, *filled)


def end_run(
    connection: Connection,
    run: Row[Any],
    status: RunState,
    reason: str,
    message: str,
    now: int,
) -> set[int]:
    """End a run; what has not begun to install is skipped. Returns the touched devices.

    After a rollback nothing is left that could begin, and who was away still goes back.
    """
    touched: set[int] = set()
    if status is not RunState.COMPLETED and reason != "RolledBack":
        why = "Superseded" if reason == "Superseded" else "Cancelled"
        # Nobody serves a Deployment without a manifest, a new run takes the devices itself, and who
        # cancels a rollback means those on their way; one that a person sent back stays on it.
        takes_back = reason in ("Superseded", "ManifestRemoved") or bool(run.goes_back)
        touched = grants.skip_unbegun(connection, run.seq, why, now, takes_back=takes_back)
    touched |= grants.waiting_in(connection, run.seq, None)
    walked.forget(connection, run.seq)
    runs.end_holds(connection, run.seq)
    runs.change_run(
        connection,
        run,
        status,
        reason=reason,
        message=message,
        completed_at=now,
        updated_at=now,
        next_due=None,
    )
    event = Event(f"run.{status}", reason=reason, message=message)
    record_for(connection, run, event, now=now)
    return touched


def turn_back(connection: Connection, run: Row[Any], reason: str, now: int) -> set[int]:
    """Roll a run back: what has not begun is skipped, the holds of the run are over.

    The next passes send back what completed. Returns the touched devices.
    """
    touched = grants.skip_unbegun(connection, run.seq, "Cancelled", now)
    runs.end_holds(connection, run.seq)
    runs.change_run(
        connection,
        run,
        RunState.IN_PROGRESS,
        goes_back=reason,
        reason="RollingBack",
        message="",
        completed_at=None,
        updated_at=now,
    )
    record_for(connection, run, Event("run.rolling_back", reason=reason), now=now)
    return touched


def settle(connection: Connection, run: Row[Any], now: int) -> None:
    """Bring a live run's status word in line with its holds: a hold means paused."""
    status = RunState(run.status)
    if status in FINISHED_RUNS:
        return
    holds = runs.holds_of(connection, run.organization, run.deployment, run.seq)
    started = RunState.PENDING if run.started_at is None else RunState.IN_PROGRESS
    wanted = RunState.PAUSED if holds else started
    if wanted is not status:
        shown = min(holds, key=lambda hold: gravest_first(hold.reason), default=None)
        # Until the next pass says more, no hold is shown that is over.
        reason, message = (shown.reason, shown.message) if shown else ("", "")
        runs.change_run(connection, run, wanted, reason=reason, message=message, updated_at=now)
