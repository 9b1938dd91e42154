"""Gathers what is told of a Deployment: its newest run, and what `decide` says of it now."""

from typing import Any

from sqlalchemy import Connection, Row

from towline.manifests.model import Deployment
from towline.reconciler import showing
from towline.reconciler.decide import decide
from towline.reconciler.explain_run import Act, Deadline, RunStory, explain_run
from towline.reconciler.head import Head
from towline.reconciler.laid_over import with_overrides
from towline.reconciler.observe import observe
from towline.reconciler.openings import openings_of
from towline.reconciler.showing import Sight
from towline.reconciler.snapshot import Snapshot
from towline.reconciler.store import reading_explain as rows_of
from towline.reconciler.store import runs
from towline.schemas.states import LIVE_RUNS, RunState, TargetState


def explain_deployment(
    connection: Connection, organization: str, name: str, sight: Sight
) -> dict[str, Any] | None:
    """The story of a Deployment's newest run; None when there was none. Changes nothing."""
    run = runs.newest_run(connection, organization, name)
    if run is None:
        return None
    head = sight.head if sight.head and sight.head.organization == organization else None
    manifest = head.deployments.get(name) if head else None
    world = _world(connection, head, name, sight) if head else None
    story = RunStory(
        shown=showing.deployment(connection, run, sight),
        subject=rows_of.subject_of(connection, run),
        decision=decide(world) if world else None,
        deadlines=[_deadline(row) for row in rows_of.deadlines(connection, run.seq)],
        limits=_limits(manifest) if manifest else {},
        is_in_git=head is None or manifest is not None,
        stalls_at=_stalls_at(world, manifest) if world and manifest else None,
        openings=_openings(connection, head, manifest, run, sight) if head and manifest else None,
        last_act=_last_act(rows_of.last_act(connection, run)),
    )
    return explain_run(story, sight.now)


def _world(connection: Connection, head: Head, name: str, sight: Sight) -> Snapshot:
    """As the loop sees it."""
    over = with_overrides(connection, head, name)
    return observe(connection, over, name, now=sight.now, poll_interval_s=sight.poll_interval_s)


def _stalls_at(world: Snapshot, manifest: Deployment) -> int | None:
    """When progressDeadline runs out; only a run that nothing holds has that clock."""
    is_live = world.run is not None and world.run.status in LIVE_RUNS
    if world.slots.stalled_since is None or world.holds or not is_live:
        return None
    return world.slots.stalled_since + manifest.progress_deadline_s


def _openings(
    connection: Connection, head: Head, manifest: Deployment, run: Row[Any], sight: Sight
) -> list[int] | None:
    """Of a run whose devices a window may keep waiting."""
    if RunState(run.status) not in LIVE_RUNS or run.through_windows:
        return None
    return openings_of(connection, head, manifest, run.seq, sight.now)


def _last_act(event: Row[Any] | None) -> Act | None:
    return None if event is None else Act(event.cause, event.at, event.message)


def _limits(manifest: Deployment) -> dict[str, int]:
    return {
        "deviceTimeout": manifest.device_timeout_s,
        "progressDeadline": manifest.progress_deadline_s,
        "offline.after": manifest.offline_after_s,
    }


def _deadline(row: Row[Any]) -> Deadline:
    state = row.status
    if state == TargetState.PENDING.value:
        state = "granted" if row.is_granted else "selected"
    elif state == TargetState.COMPLETED.value:
        state = "to be verified"
    return Deadline(state, row.n, row.deadline, row.still)
