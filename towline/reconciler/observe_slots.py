"""Reading who may be granted next, who is on the way back, and what follows a completed run."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, true

from towline.manifests.model import Deployment
from towline.reconciler.snapshot import Aftercare, Slots, Snapshot
from towline.reconciler.store import drift as drifts
from towline.reconciler.store import runs, slots
from towline.reconciler.store.approvals import approvals_of
from towline.reconciler.store.next_clock import Look
from towline.reconciler.verdict import tally
from towline.reconciler.within_budget import Pages, within_budget
from towline.schemas.states import FINISHED_RUNS, RunState

GRANTABLE_LIMIT = 1000
HEALED_LEAST, HEALED_SHARE = 10, 5
"""Self-healing is held above so many devices, or so many percent of the targets, in an hour."""


def with_slots(
    connection: Connection,
    manifest: Deployment,
    run: Row[Any],
    world: Snapshot,
    look: Look,
    seen_after: int,
    is_owned: ColumnElement[bool],
) -> Snapshot:
    """Add who may be granted, the progress deadline, and what follows a rollback or the end."""
    status = RunState(run.status)
    slots_seen = _slots(connection, manifest, run, look, seen_after)
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


def _slots(
    connection: Connection, manifest: Deployment, run: Row[Any], look: Look, seen_after: int
) -> Slots:
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
            limit=free,
        )

    grantable: tuple[int, ...] = ()
    is_blocked = False
    if free and slots.may_be_ready(connection, run.seq):
        grantable, is_blocked = _grantable(connection, organization, manifest, pages, free)
    stalled = look.stalled_since
    if stalled is not None:
        verdicts = [row.last_verdict_at or 0 for row in runs.batches_of(connection, run.seq)]
        stalled = max(stalled, run.progress_from or 0, *verdicts)
    return Slots(
        grantable=grantable,
        in_flight=in_flight,
        budget_blocked=is_blocked,
        preparing=slots.preparing(connection, run.seq),
        waiting=look.waiting,
        stalled_since=stalled,
    )


def _grantable(
    connection: Connection, organization: str, manifest: Deployment, pages: Pages, free: int
) -> tuple[tuple[int, ...], bool]:
    """Who may be granted next, and whether it is the budget alone that lets nobody."""
    if manifest.budget is None:
        return tuple(next(iter(pages(true())), ())[:free]), False
    chosen = within_budget(connection, organization, manifest.budget, pages, free)
    return chosen, not chosen and bool(next(iter(pages(true())), ()))


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
