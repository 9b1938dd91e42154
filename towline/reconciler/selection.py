"""Selecting devices into batches, in the run's order, by the conditions that fit its release."""

from typing import Any

from sqlalchemy import Connection, Row, func, select, update

from towline.manifests.model import Deployment, Ownership
from towline.reconciler.actions import OpenBatch
from towline.reconciler.cohort import Order
from towline.reconciler.fitness import Fit
from towline.reconciler.head import Head
from towline.reconciler.scope import (
    choice_of,
    current_offer,
    fits_of,
    plan_number,
    plans_of,
    wanted_presence,
    wants_status,
)
from towline.reconciler.store import fleet, grants, runs
from towline.reconciler.store import tables as t
from towline.reconciler.store.targets import add
from towline.schemas.states import BatchState, TargetState


def open_batch(
    connection: Connection,
    head: Head,
    manifest: Deployment,
    run: Row[Any],
    action: OpenBatch,
    now: int,
    seen_after: int,
) -> int:
    """Open a batch and select its members; returns how many there are."""
    connection.execute(
        t.batches.insert().values(
            run_seq=run.seq,
            number=action.number,
            name=action.plan.name,
            is_last=action.is_last,
            state=BatchState.OPEN.value,
            size=0,
            success_threshold=action.plan.success_threshold,
            soak_s=0 if run.is_return else action.plan.soak_s,
            opened_at=now,
        )
    )
    scope = _Scope(connection, head, manifest, run, seen_after)
    scope.skip_unfit(action.number, now)
    members = grants.readmit_deferred(connection, run.seq, action.number) if action.is_last else 0
    members += scope.select(
        action.number, action.plan.ownership, action.size, now, only_seen=action.only_seen
    )
    _grow(connection, run.seq, action.number, members)
    scope.note_total()
    return members


def admit(
    connection: Connection,
    head: Head,
    manifest: Deployment,
    run: Row[Any],
    batch: int,
    limit: int,
    *,
    now: int,
    seen_after: int,
    only_seen: bool,
) -> None:
    """Select more devices into a batch: replacements for excused ones, or latecomers."""
    row = next(row for row in runs.batches_of(connection, run.seq) if row.number == batch)
    plans = plans_of(manifest, run)
    within = None if row.is_last else plan_number(plans, batch).ownership
    scope = _Scope(connection, head, manifest, run, seen_after)
    added = scope.select(batch, within, limit, now, only_seen=only_seen)
    if row.is_last:
        _grow(connection, run.seq, batch, added)


def _order_of(run: Row[Any]) -> Order:
    """The order that the run froze."""
    return Order(run.perm_p, run.perm_step, run.perm_off)


def _grow(connection: Connection, run_seq: int, batch: int, members: int) -> None:
    connection.execute(
        update(t.batches)
        .where(t.batches.c.run_seq == run_seq, t.batches.c.number == batch)
        .values(size=t.batches.c.size + members)
    )


class _Scope:
    """One run's view of the fleet while devices are selected."""

    def __init__(
        self,
        connection: Connection,
        head: Head,
        manifest: Deployment,
        run: Row[Any],
        seen_after: int,
    ) -> None:
        self.connection, self.head, self.manifest, self.run = connection, head, manifest, run
        self.seen_after = seen_after
        offer, _ = current_offer(head, manifest, run)
        assert offer is not None
        self.offer = offer

    def select(
        self, batch: int, within: Ownership | None, limit: int, now: int, *, only_seen: bool
    ) -> int:
        """Select up to `limit` fitting devices into `batch`; returns how many were there."""
        choice = choice_of(self.head, self.manifest, self.run.seq, within, self.seen_after)
        groups = fleet.conditions(self.connection, choice)
        fits = fits_of(self.manifest, self.offer, self.run, {g.condition for g in groups})
        wanted = {
            group.condition
            for group in groups
            if fits[group.condition] is Fit.FITS
            and wants_status(self.manifest, self.run, group.is_seen)
        }
        chosen = fleet.choose(
            self.connection,
            choice,
            wanted,
            limit=limit,
            order=None if self.manifest.order == "name" else _order_of(self.run).position,
            seen=True if only_seen else wanted_presence(self.manifest, self.run),
        )
        rows = [
            self._row(seq, batch, TargetState.PENDING, "Selected", position, now)
            for seq, position in chosen
        ]
        return len(add(self.connection, rows))

    def skip_unfit(self, batch: int, now: int) -> None:
        """Give the devices that may not get the release a target that says why."""
        choice = choice_of(self.head, self.manifest, self.run.seq, None, self.seen_after)
        conditions = {group.condition for group in fleet.conditions(self.connection, choice)}
        for condition, fits in fits_of(self.manifest, self.offer, self.run, conditions).items():
            if fits.is_skip:
                chosen = fleet.choose(
                    self.connection, choice, [condition], limit=1_000_000, order=None
                )
                rows = [
                    self._row(seq, batch, TargetState.SKIPPED, fits.value, position, now)
                    for seq, position in chosen
                ]
                add(self.connection, rows)

    def note_total(self) -> None:
        """Keep how many devices the run has or will have: the targets and whatever still fits."""
        choice = choice_of(self.head, self.manifest, self.run.seq, None, self.seen_after)
        groups = fleet.conditions(self.connection, choice)
        fits = fits_of(self.manifest, self.offer, self.run, {g.condition for g in groups})
        waiting = sum(group.n for group in groups if fits[group.condition] is Fit.FITS)
        opened = select(func.count()).where(t.targets.c.run_seq == self.run.seq)
        self.connection.execute(
            update(t.runs)
            .where(t.runs.c.seq == self.run.seq)
            .values(target_count=opened.scalar_subquery() + waiting)
        )

    def _row(
        self, seq: int, batch: int, status: TargetState, reason: str, position: int, now: int
    ) -> dict[str, Any]:
        return {
            "run_seq": self.run.seq,
            "device_seq": seq,
            "component": self.manifest.component,
            "batch": batch,
            "status": status.value,
            "reason": reason,
            "attempt": 1,
            "position": position,
            "created_at": now,
        }
