"""Reading what a decision needs into one frozen Snapshot, the time included."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, exists, false, func, select, true

from towline.manifests.model import BatchPlan, Deployment
from towline.reconciler.head import Head
from towline.reconciler.layout import plan_number
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
    Aftercare,
    AnalysisSeen,
    BatchSeen,
    Figures,
    FleetSeen,
    History,
    HoldSeen,
    RunSeen,
    Slots,
    Snapshot,
)
from towline.reconciler.store import clocks, fleet, runs, slots
from towline.reconciler.store import drift as drifts
from towline.reconciler.store import tables as t
from towline.reconciler.store.approvals import approvals_of
from towline.reconciler.store.clocks import Asked, Patience
from towline.reconciler.store.targets import TargetGroup, groups_by_batch
from towline.reconciler.verdict import tally
from towline.reconciler.within_budget import within_budget
from towline.schemas.states import FINISHED_RUNS, BatchState, RunState

SEEN_POLLS = 3
"""A device is seen lately when it polled within so many poll intervals."""
GRANTABLE_LIMIT = 1000
OFFLINE_AFTER_DEFAULT_S = 86400
HEALED_LEAST, HEALED_SHARE = 10, 5
"""Self-healing is held above so many devices, or so many percent of the targets, in an hour."""


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
        world = replace(world, history=_history(connection, organization, manifest))
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
    world = replace(
        world,
        run=_run_seen(run, opened, _gate_cleared_at(connection, run.seq)),
        is_retry_requested=_is_retry_requested(connection, run.seq),
        holds=_holds_seen(connection, run),
        batches=tuple(_batch_seen(row, groups.get(row.number, ())) for row in opened),
        lapsed=clocks.lapsed(connection, asked, is_owned),
        next_clock=clocks.next_clock(connection, asked),
        is_swept=asked.is_sweep,
    )
    if manifest is None or manifest.revision != run.revision:
        return world
    seen_after = now - patience.seen_s
    world = _with_fleet(connection, head, manifest, run, opened, world, seen_after, is_owned)
    return _with_slots(connection, manifest, run, world, seen_after, is_owned)


def patience_of(manifest: Deployment | None, poll_interval_s: int) -> Patience:
    """How long the Deployment waits for its devices."""
    offline_s = manifest.offline_after_s if manifest else OFFLINE_AFTER_DEFAULT_S
    return Patience(SEEN_POLLS * poll_interval_s, offline_s)


def _history(connection: Connection, organization: str, manifest: Deployment) -> History:
    key = (organization, manifest.name, manifest.revision)
    return History(runs.count_turns(connection, *key), runs.was_completed(connection, *key))


def _gate_cleared_at(connection: Connection, run_seq: int) -> int:
    """When a person last cleared a gate: patience begins anew."""
    found = connection.execute(
        select(func.max(t.overrides.c.created_at)).where(
            t.overrides.c.run_seq == run_seq, t.overrides.c.key == "gate"
        )
    ).scalar_one()
    return found or 0


def _run_seen(run: Row[Any], opened: Sequence[Row[Any]], gate_cleared_at: int) -> RunSeen:
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
    )


def _holds_seen(connection: Connection, run: Row[Any]) -> tuple[HoldSeen, ...]:
    rows = runs.holds_of(connection, run.organization, run.deployment, run.seq)
    return tuple(HoldSeen(row.reason, row.message, row.since, row.until) for row in rows)


def _is_retry_requested(connection: Connection, run_seq: int) -> bool:
    asked = exists(
        select(t.overrides.c.id).where(
            t.overrides.c.run_seq == run_seq, t.overrides.c.key == "retry"
        )
    )
    return bool(connection.execute(select(asked)).scalar_one())


def _batch_seen(row: Row[Any], groups: Iterable[TargetGroup]) -> BatchSeen:
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
    )


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
    permission = permission_of(connection, head, manifest, run, is_owned, world.now)
    seen = FleetSeen()
    is_judged = is_judged_by_reach(permission, manifest)
    if _asks_for_more(connection, world, run, is_judged):
        alone_at = world.now if plan.is_alone else None
        seen = fleet_seen(connection, manifest, offer, run, choice, alone_at)
    if plan.ownership is not None and world.current_batch is None and (run.started_at or is_judged):
        everyone = choice_of(head, manifest, run.seq, None, seen_after)
        whole = fleet_seen(connection, manifest, offer, run, everyone)
        seen = replace(seen, left=whole.left)
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


def _asks_for_more(connection: Connection, world: Snapshot, run: Row[Any], is_judged: bool) -> bool:
    """Whether the decision may depend on devices outside of the run: all are looked at then."""
    batch = world.current_batch
    if run.started_at is None:
        return is_judged
    if batch is None or batch.state is BatchState.FAILED or (is_judged and world.holds):
        return True
    if batch.state is BatchState.SOAKING:
        return False
    if not batch.is_last:
        return batch.tally.members < batch.size
    return fleet.has_more_than(connection, run.organization, run.seq)


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


def _with_slots(
    connection: Connection,
    manifest: Deployment,
    run: Row[Any],
    world: Snapshot,
    seen_after: int,
    is_owned: ColumnElement[bool],
) -> Snapshot:
    """Add who may be granted, the progress deadline, and what follows a rollback or the end."""
    status = RunState(run.status)
    slots_seen = _slots(connection, manifest, run, seen_after)
    world = replace(
        world, slots=slots_seen, next_clock=_next_clock(world, slots_seen, manifest, status)
    )
    if run.goes_back and status is not RunState.CANCELLED:
        return replace(
            world,
            to_send_back=slots.to_send_back(connection, run.seq),
            going_back=slots.going_back(connection, run.seq),
        )
    if status is RunState.COMPLETED:
        care = _aftercare(connection, run, is_owned, seen_after, world.now)
        return replace(world, aftercare=care)
    return world


def _next_clock(world: Snapshot, seen: Slots, manifest: Deployment, status: RunState) -> int | None:
    """The progress deadline is a clock of the granted devices together."""
    if seen.stalled_since is None or status in FINISHED_RUNS:
        return world.next_clock
    times = [world.next_clock, seen.stalled_since + manifest.progress_deadline_s]
    return min((at for at in times if at is not None and at > world.now), default=None)


def _slots(connection: Connection, manifest: Deployment, run: Row[Any], seen_after: int) -> Slots:
    organization, deployment = run.organization, run.deployment
    in_flight = slots.in_flight(connection, organization, deployment)
    free = min(GRANTABLE_LIMIT, max(0, manifest.max_concurrent - in_flight))
    only_back = bool(run.goes_back) or run.status in ("failed", "cancelled")

    def pages(within: ColumnElement[bool]) -> Iterator[list[int]]:
        return slots.candidates(
            connection,
            run,
            seen_after,
            within,
            by_name=manifest.order == "name",
            only_back=only_back,
        )

    first = next(pages(true()), []) if free else []
    grantable = tuple(first[:free])
    if first and manifest.budget is not None:
        grantable = within_budget(connection, organization, manifest.budget, pages, free)
    stalled = slots.stalled_since(connection, organization, deployment, seen_after)
    if stalled is not None:
        verdict_at = slots.last_verdict_at(connection, run.seq)
        stalled = max(stalled, verdict_at, run.progress_from or 0)
    return Slots(
        grantable=grantable,
        in_flight=in_flight,
        budget_blocked=bool(first) and not grantable,
        preparing=slots.preparing(connection, run.seq),
        waiting=slots.waiting(connection, organization, deployment),
        stalled_since=stalled,
    )


def _aftercare(
    connection: Connection,
    run: Row[Any],
    is_owned: ColumnElement[bool],
    seen_after: int,
    now: int,
) -> Aftercare:
    found = drifts.drift(connection, run, is_owned, seen_after, now)
    approved_at = approvals_of(connection, run.seq, now).healing_since
    since = max(run.completed_at or 0, approved_at)
    return Aftercare(
        drifted=found.healable,
        looping=found.looping,
        served_within_hour=drifts.served_since(connection, run.seq, max(since, now - 3600)),
        limit=max(HEALED_LEAST, run.target_count * HEALED_SHARE // 100),
        recent=tally(drifts.recent_verdicts(connection, run.seq, approved_at)),
        next_heal_at=found.next_heal_at,
    )


def is_resumed_over_git(connection: Connection, organization: str, manifest: Deployment) -> bool:
    """A `resume` stands over the manifest's `paused` until a commit changes the key."""
    found = connection.execute(
        select(t.overrides.c.over)
        .where(
            t.overrides.c.organization == organization,
            t.overrides.c.deployment == manifest.name,
            t.overrides.c.key == "paused",
        )
        .order_by(t.overrides.c.id.desc())
        .limit(1)
    ).scalar_one_or_none()
    return found is True and manifest.paused
