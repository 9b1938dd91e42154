"""What a person approves: a start, a batch, unclear figures, a stale plan, healing, a night."""

from typing import Any

from sqlalchemy import Connection, Row

from towline.reconciler.permission import is_author
from towline.reconciler.refusals import NotAllowed
from towline.reconciler.store import approvals, grants, runs
from towline.reconciler.store.overrides import Person, lay_override
from towline.schemas.states import LIVE_RUNS, PASSED_BATCHES, RunState

_BY_DECISION = ("WaitingForApproval", "AnalysisInconclusive", "PlanStale")
"""Lifted by the next decision, which counts what was approved."""
_AT_ONCE = ("SelfHealHeld", "RestoredFromBackup")


def approve(connection: Connection, run: Row[Any], through_windows: bool, who: Person) -> set[int]:
    """Let a run go on; returns the devices whose documents change. Raises NotAllowed."""
    touched = _open_windows(connection, run, who) if through_windows else set()
    holds = runs.holds_of(connection, run.organization, run.deployment, run.seq)
    held = {hold.reason for hold in holds}
    waiting = [reason for reason in (*_BY_DECISION, *_AT_ONCE) if reason in held]
    if not waiting and not through_windows:
        raise NotAllowed("nothing waits for an approval")
    for reason in waiting:
        _approve(connection, run, reason, who)
    runs.remove_holds(connection, run.organization, run.deployment, *_AT_ONCE)
    return touched


def _approve(connection: Connection, run: Row[Any], reason: str, who: Person) -> None:
    is_start = run.started_at is None
    if is_start and reason == "WaitingForApproval" and is_author(who.name, run.author):
        raise NotAllowed(f"{run.author} wrote the commit; somebody else must approve it")
    lapses = reason == "WaitingForApproval"
    lay_override(
        connection,
        run,
        approvals.KEY,
        {"hold": reason, "batch": None if is_start else _batch(connection, run)},
        who,
        until=who.now + approvals.UNUSED_LIFE_S if lapses else None,
    )


def _batch(connection: Connection, run: Row[Any]) -> int | None:
    over = {state.value for state in PASSED_BATCHES}
    opened = runs.batches_of(connection, run.seq)
    return next((batch.number for batch in opened if batch.state not in over), None)


def _open_windows(connection: Connection, run: Row[Any], who: Person) -> set[int]:
    """For the night it burns: a return goes through closed windows."""
    if not run.is_return or RunState(run.status) not in LIVE_RUNS:
        raise NotAllowed("only a return that is under way may go through windows")
    runs.set_on_run(connection, run.seq, through_windows=True)
    lay_override(connection, run, "windows", "through", who)
    return grants.offered(connection, run.seq)
