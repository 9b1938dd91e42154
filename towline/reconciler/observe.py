"""Reading what a decision needs into one frozen Snapshot, the time included."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, false

from towline.manifests.model import BatchPlan, Deployment
from towline.reconciler import settled
from towline.reconciler.filling import PART
from towline.reconciler.head import Head
from towline.reconciler.layout import plan_number
from towline.reconciler.observe_run import (
    batch_seen,
    gate_cleared_at,
    history_of,
    holds_seen,
    is_resumed_over_git,
    is_retry_requested,
    run_seen,
)
from towline.reconciler.observe_slots import with_slots
from towline.reconciler.permission import (
    is_judged_by_reach,
    permission_of,
    reach_of,
    rules_seen,
)
from towline.reconciler.questions import batch_standing
from towline.reconciler.scope import (
    choice_of,
    count_targets,
    current_offer,
    fleet_seen,
    plans_of,
    still_owned,
)
from towline.reconciler.snapshot import (
    AnalysisSeen,
    BatchSeen,
    Figures,
    FleetSeen,
    Snapshot,
)
from towline.reconciler.store import clocks, fleet, runs
from towline.reconciler.store.clocks import Asked, Patience
from towline.reconciler.store.next_clock import look, next_clock
from towline.reconciler.store.silence import silence
from towline.reconciler.store.targets import groups_by_batch
from towline.reconciler.walk import next_seen
from towline.schemas.states import LIVE_RUNS, BatchState

SEEN_POLLS = 3
"""A device is seen lately when it polled within so many poll intervals."""
OFFLINE_AFTER_DEFAULT_S = 86400


def observe(
    connection: Connection, head: Head, deployment: str, *, now: int, poll_interval_s: int
) -> Snapshot:
    """The Snapshot of one Deployment."""
    manifest = head.deployments.get(deployment)
    organization = head.organization
    run = runs.newest_run(connection, organization, deployment)
    patience = patience_of(manifest, poll_interval_s)
    world = Snapshot(now=now, deployment=deployment, manifest=manifest)
    if manifest is not None:
        world = replace(world, history=history_of(connection, organization, manifest))
    if run is None:
        return world
    is_owned = false() if manifest is None else still_owned(connection, head, manifest)
    groups = groups_by_batch(connection, run.seq)
    opened = runs.batches_of(connection, run.seq)
    asked = Asked(
        organization,
        deployment,
        run.seq,
        patience,
        now,
        is_recheck=run.checked_commit != head.commit.sha,
        swept_at=run.swept_at,
    )
    early = silence(connection, run.seq, run.heard_since, now=now, seen_s=patience.seen_s)
    clocks_seen = look(connection, asked)
    world = replace(
        world,
        run=run_seen(run, opened, gate_cleared_at(connection, run.seq)),
        is_retry_requested=is_retry_requested(connection, run.seq),
        holds=holds_seen(connection, run),
        batches=tuple(batch_seen(row, groups.get(row.number, ())) for row in opened),
        lapsed=clocks.lapsed(
            connection,
            asked,
            is_owned,
            early,
            is_any_due=clocks_seen.is_any_due,
            is_any_unfetched=clocks_seen.unfetched > 0,
        ),
        next_clock=next_clock(connection, asked, clocks_seen, early),
        is_swept=asked.is_sweep,
        is_rechecked=asked.is_recheck,
        silence=early,
    )
    if manifest is None or manifest.revision != run.revision:
        return world
    seen_after = now - patience.seen_s
    world = _with_fleet(connection, head, manifest, run, opened, world, seen_after, is_owned)
    if _is_filling(world):
        return world  # Nobody is granted before.
    return with_slots(connection, manifest, run, world, clocks_seen, seen_after, is_owned)


def patience_of(manifest: Deployment | None, poll_interval_s: int) -> Patience:
    """How long the Deployment waits for its devices."""
    offline_s = manifest.offline_after_s if manifest else OFFLINE_AFTER_DEFAULT_S
    seen_s = SEEN_POLLS * poll_interval_s
    # Shorter than what counts as seen lately, a device would be away and back at once.
    return Patience(seen_s, max(offline_s, seen_s + 1))


def _with_fleet(
    connection: Connection,
    head: Head,
    manifest: Deployment,
    run: Row[Any],
    opened: Sequence[Row[Any]],
    world: Snapshot,
    seen_after: int,
    is_owned: ColumnElement[bool],
) -> Snapshot:
    """Add the statement, the rules, the next batch and the devices it may take."""
    offer, problem = current_offer(head, manifest, run)
    plans = plans_of(manifest, run, opened)
    last = world.last_batch
    next_plan = None if last and last.is_last else plan_number(plans, len(world.batches))
    open_plan = _open_plan(plans, world.current_batch)
    plan = open_plan or next_plan or plans[-1]
    choice = choice_of(head, manifest, run.seq, plan.ownership, seen_after)
    since = settled.since(connection, head, manifest, run)
    permission = permission_of(connection, head, manifest, run, is_owned, world.now)
    seen = FleetSeen()
    is_judged = is_judged_by_reach(permission, manifest)
    if _asks_for_more(connection, world, run, is_judged, since):
        alone_at = world.now if plan.is_alone else None
        is_whole = plan.ownership is None and not plan.is_alone
        choice = replace(choice, since=since if is_whole else None)
        missing = 0 if is_judged else _missing(world)
        if missing and offer and next_seen(connection, head, manifest, offer, run, choice, missing):
            # All others are of no matter until these are taken.
            seen = FleetSeen(is_owner=True, matching=missing, seen=missing, left=missing)
        else:
            seen = fleet_seen(connection, manifest, offer, run, choice, alone_at)
            seen = replace(seen, is_settled=seen.is_settled and is_whole)
    batch = world.current_batch
    # After a failed gate it matters whom the release has not reached, whatever the batch was for.
    is_between = batch is None or batch.state is BatchState.FAILED
    if plan.ownership is not None and is_between and (run.started_at or is_judged):
        everyone = choice_of(head, manifest, run.seq, None, seen_after)
        whole = fleet_seen(connection, manifest, offer, run, replace(everyone, since=since))
        seen = replace(seen, left=whole.left, is_settled=whole.is_settled)
    next_targets = count_targets(connection, run.seq, head, plan.ownership)
    reach = reach_of(manifest, world.batches, seen, next_plan, next_targets)
    return replace(
        world,
        statement_problem=problem,
        rules=rules_seen(permission, manifest, run, reach, world.now),
        is_offer_changed=run.offer is not None
        and offer is not None
        and offer.document() != run.offer,
        is_resumed_over_git=is_resumed_over_git(connection, head.organization, manifest),
        batches=tuple(
            replace(batch, needs_approval=plan_number(plans, batch.number).needs_approval)
            for batch in world.batches
        ),
        next_plan=next_plan,
        batch_total=max(len(plans), len(world.batches)),
        next_targets=next_targets,
        fleet=seen,
        analysis=_analysis(connection, manifest, run.seq, world),
    )


def _asks_for_more(
    connection: Connection, world: Snapshot, run: Row[Any], is_judged: bool, since: int | None
) -> bool:
    """Whether the decision may depend on devices outside of the run: they are looked at then."""
    batch = world.current_batch
    if run.started_at is None:
        return is_judged
    if batch is None or batch.state is BatchState.FAILED or (is_judged and world.holds):
        return True
    if batch.state is BatchState.SOAKING:
        return False
    if batch.is_filling:
        return is_judged
    if not batch.is_last:
        return batch.tally.members < batch.size
    return since is not None or fleet.has_more_than(connection, run.organization, run.seq)


def _missing(world: Snapshot) -> int:
    """How many devices the decision replaces in the open batch before it does anything else."""
    batch = world.current_batch
    if batch is None or batch.state is not BatchState.OPEN or batch.is_last or batch.is_alone:
        return 0
    return 0 if world.holds else min(PART, max(0, batch.size - batch.tally.members))


def _is_filling(world: Snapshot) -> bool:
    """Nothing else is decided before the open batch of a run that rolls out is full."""
    run, batch = world.run, world.current_batch
    if run is None or run.goes_back or run.status not in LIVE_RUNS or world.holds:
        return False
    return batch is not None and batch.is_filling


def _analysis(
    connection: Connection, manifest: Deployment, run_seq: int, world: Snapshot
) -> AnalysisSeen:
    batch = world.current_batch
    if batch is None or batch.analysis_from is None or not manifest.analysis:
        return AnalysisSeen()
    found = batch_standing(
        connection, run_seq, batch.number, batch.analysis_from, manifest.analysis
    )
    next_ask_at = found.next_ask_at
    if next_ask_at is not None and next_ask_at <= world.now:
        next_ask_at = None  # it is being asked; the answer wakes the loop
    return AnalysisSeen(Figures(found.state.value), found.message, next_ask_at)


def _open_plan(plans: Sequence[BatchPlan], current: BatchSeen | None) -> BatchPlan | None:
    if current is None or current.state not in (BatchState.OPEN, BatchState.SOAKING):
        return None
    return plan_number(plans, current.number)
