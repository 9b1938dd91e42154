"""Reading one run as a decision sees it: its row, holds, batches and history."""

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, Row

from towline.manifests.model import Deployment
from towline.reconciler.snapshot import BatchSeen, History, HoldSeen, RunSeen
from towline.reconciler.store import overrides, runs
from towline.reconciler.store.targets import TargetGroup
from towline.reconciler.verdict import tally
from towline.schemas.states import BatchState, RunState


def history_of(connection: Connection, organization: str, manifest: Deployment) -> History:
    """What is known of the manifest's revision in its Deployment."""
    key = (organization, manifest.name, manifest.revision)
    return History(*runs.history(connection, *key))


def gate_cleared_at(connection: Connection, run_seq: int) -> int:
    """When a person last cleared a gate: patience begins anew."""
    laid = overrides.of_run(connection, run_seq)
    return max((row.created_at for row in laid if row.key == "gate"), default=0)


def run_seen(run: Row[Any], opened: Sequence[Row[Any]], gate_cleared_at: int) -> RunSeen:
    """The run's row, and since when it waits for devices."""
    ended = [row.ended_at for row in opened if row.ended_at is not None]
    return RunSeen(
        seq=run.seq,
        id=run.id,
        revision=run.revision,
        status=RunState(run.status),
        reason=run.reason,
        is_return=run.is_return,
        start_requested=run.start_requested,
        created_at=run.created_at,
        started_at=run.started_at,
        idle_since=max([run.started_at or run.created_at, gate_cleared_at, *ended]),
        goes_back=run.goes_back,
        is_let_go=run.let_go_at is not None,
    )


def holds_seen(connection: Connection, run: Row[Any]) -> tuple[HoldSeen, ...]:
    """The holds of the run and those that stay with its Deployment."""
    rows = runs.holds_of(connection, run.organization, run.deployment, run.seq)
    return tuple(HoldSeen(row.reason, row.message, row.since, row.until) for row in rows)


def is_retry_requested(connection: Connection, run_seq: int) -> bool:
    """A person asked for the next run of the final one."""
    return any(row.key == "retry" for row in overrides.of_run(connection, run_seq))


def batch_seen(row: Row[Any], groups: Iterable[TargetGroup]) -> BatchSeen:
    """A batch's row with its members counted, by arms as well."""
    groups = list(groups)
    arms = sorted({group.arm for group in groups if group.arm is not None})
    return BatchSeen(
        number=row.number,
        name=row.name,
        is_last=row.is_last,
        state=BatchState(row.state),
        size=row.size,
        success_threshold=row.success_threshold,
        soak_s=row.soak_s,
        opened_at=row.opened_at,
        last_verdict_at=row.last_verdict_at,
        tally=tally(groups),
        arms=tuple(tally(g for g in groups if g.arm == arm) for arm in arms),
        is_alone=row.is_alone,
        analysis_from=row.analysis_from,
        is_filling=row.filled_to is not None,
    )


def is_resumed_over_git(connection: Connection, organization: str, manifest: Deployment) -> bool:
    """A `resume` stands over the manifest's `paused` until a commit changes the key."""
    return manifest.paused and overrides.is_resumed(connection, organization, manifest.name)
