"""Reading what a decision needs into one frozen Snapshot, the time included."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, exists, func, select, true

from towline.manifests.model import BatchPlan, Deployment
from towline.reconciler.head import Head
from towline.reconciler.scope import (
    choice_of,
    count_targets,
    current_offer,
    fleet_seen,
    plan_number,
    plans_of,
)
from towline.reconciler.snapshot import (
    BatchSeen,
    History,
    HoldSeen,
    RunSeen,
    Snapshot,
)
from towline.reconciler.store import clocks, fleet, runs
from towline.reconciler.store import tables as t
from towline.reconciler.store.clocks import Patience
from towline.reconciler.store.targets import groups_by_batch
from towline.reconciler.verdict import Tally, tally
from towline.schemas.states import ACTIVE_TARGETS, BatchState, RunState, TargetState

SEEN_POLLS = 3
"""A device is seen lately when it polled within so many poll intervals."""
GRANTABLE_LIMIT = 1000
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
        world = replace(world, history=_history(connection, organization, manifest))
    if run is None:
        return world
    groups = groups_by_batch(connection, run.seq)
    opened = runs.batches_of(connection, run.seq)
    world = replace(
        world,
        run=_run_seen(run, opened, _gate_cleared_at(connection, run.seq)),
        is_retry_requested=_is_retry_requested(connection, run.seq),
        holds=_holds_seen(connection, run),
        batches=tuple(_batch_seen(row, tally(groups.get(row.number, ()))) for row in opened),
        lapsed=clocks.lapsed(
            connection,
            organization,
            deployment,
            run.seq,
            patience,
            now,
            _still_owned(connection, head, manifest),
        ),
        in_flight=_in_flight(connection, organization, deployment),
        next_clock=clocks.next_clock(connection, organization, deployment, run.seq, patience, now),
        grantable=_grantable(connection, run, manifest, now - patience.seen_s),
    )
    if manifest is None or manifest.revision != run.revision:
        return world
    return _with_fleet(connection, head, manifest, run, world, now - patience.seen_s)


def patience_of(manifest: Deployment | None, poll_interval_s: int) -> Patience:
    """How long the Deployment waits for its devices."""
    offline_s = manifest.offline_after_s if manifest else OFFLINE_AFTER_DEFAULT_S
    return Patience(SEEN_POLLS * poll_interval_s, offline_s)


def _still_owned(
    connection: Connection, head: Head, manifest: Deployment | None
) -> ColumnElement[bool]:
    if manifest is None:
        return true()
    owned = fleet.owned_by(connection, manifest.ownership, head.groups)
    return and_(t.edge_devices.c.state == "active", owned)


def _in_flight(connection: Connection, organization: str, deployment: str) -> int:
    """Slots in use: a former run's devices that still finish hold theirs."""
    statement = (
        select(func.count())
        .select_from(t.targets)
        .join(t.runs, t.runs.c.seq == t.targets.c.run_seq)
        .where(
            t.runs.c.organization == organization,
            t.runs.c.deployment == deployment,
            t.targets.c.granted_at.is_not(None),
            t.targets.c.is_set_aside.is_(False),
            clocks.awaits_verdict(),
        )
    )
    return connection.execute(statement).scalar_one()


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


def _batch_seen(row: Row[Any], members: Tally) -> BatchSeen:
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
        tally=members,
    )


def _grantable(
    connection: Connection, run: Row[Any], manifest: Deployment | None, seen_after: int
) -> tuple[int, ...]:
    """Selected devices in order, seen lately and with no other install of any component."""
    busy = t.targets.alias("busy")
    is_busy = exists(
        select(busy.c.run_seq).where(
            busy.c.device_seq == t.targets.c.device_seq,
            busy.c.granted_at.is_not(None),
            busy.c.status.in_([state.value for state in ACTIVE_TARGETS]),
        )
    )
    by_name = manifest is not None and manifest.order == "name"
    order = t.edge_devices.c.slug if by_name else t.targets.c.position
    rows = connection.execute(
        select(t.targets.c.device_seq)
        .join(t.edge_devices, t.edge_devices.c.seq == t.targets.c.device_seq)
        .join(t.device_state, t.device_state.c.device_seq == t.targets.c.device_seq)
        .where(
            t.targets.c.run_seq == run.seq,
            t.targets.c.status == TargetState.PENDING.value,
            t.targets.c.granted_at.is_(None),
            t.device_state.c.last_seen >= seen_after,
            ~is_busy,
        )
        .order_by(t.targets.c.batch, order)
        .limit(GRANTABLE_LIMIT)
    )
    return tuple(rows.scalars())


def _with_fleet(
    connection: Connection,
    head: Head,
    manifest: Deployment,
    run: Row[Any],
    world: Snapshot,
    seen_after: int,
) -> Snapshot:
    """Add the statement, the next batch and the devices it may take."""
    offer, problem = current_offer(head, manifest, run)
    plans = plans_of(manifest, run)
    last = world.last_batch
    next_plan = None if last and last.is_last else plan_number(plans, len(world.batches))
    open_plan = _open_plan(plans, world.current_batch)
    within = (open_plan or next_plan or plans[-1]).ownership
    choice = choice_of(head, manifest, run.seq, within, seen_after)
    return replace(
        world,
        statement_problem=problem,
        is_offer_changed=run.offer is not None
        and offer is not None
        and offer.document() != run.offer,
        is_resumed_over_git=is_resumed_over_git(connection, head.organization, manifest),
        next_plan=next_plan,
        batch_total=max(len(plans), len(world.batches)),
        next_targets=count_targets(connection, run.seq, head, within),
        fleet=fleet_seen(connection, manifest, offer, run, choice),
    )


def _open_plan(plans: Sequence[BatchPlan], current: BatchSeen | None) -> BatchPlan | None:
    if current is None or current.state not in (BatchState.OPEN, BatchState.SOAKING):
        return None
    return plan_number(plans, current.number)


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
