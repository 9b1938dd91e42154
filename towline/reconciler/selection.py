"""Selecting devices into batches, in the run's order, by the conditions that fit its release."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, Row, func, select

from towline.manifests.model import Deployment, Ownership
from towline.reconciler import settled
from towline.reconciler.actions import OpenBatch
from towline.reconciler.alone import find_alone
from towline.reconciler.filling import PART, goes_in_parts
from towline.reconciler.fitness import Fit
from towline.reconciler.head import Head
from towline.reconciler.layout import plan_number
from towline.reconciler.scope import (
    choice_of,
    count_devices,
    current_offer,
    for_offer,
    groups_by_fit,
    is_free,
    order_of,
    plans_of,
)
from towline.reconciler.store import grants, hints, runs
from towline.reconciler.store import tables as t
from towline.reconciler.store.choice import Affine, Choice
from towline.reconciler.store.condition_keys import ConditionGroup
from towline.reconciler.store.selecting import Entry, select_devices, select_these
from towline.reconciler.walk import keep, next_seen
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
    """Open a batch and select its members, or a first part; returns how many it will have."""
    batch = {
        "name": action.plan.name,
        "is_last": action.is_last,
        "is_alone": action.plan.is_alone,
        "state": BatchState.OPEN.value,
        "success_threshold": action.plan.success_threshold,
        "soak_s": 0 if run.is_return else action.plan.soak_s,
        "opened_at": now,
    }
    selection = _Selection(connection, head, manifest, run, seen_after)
    everyone = selection.choice(None)
    groups = selection.groups(everyone)
    runs.insert_batch(connection, run.seq, action.number, batch)
    fitting = count_devices(groups.get(Fit.FITS, []))
    members = grants.readmit_deferred(connection, run.seq, action.number) if action.is_last else 0
    in_parts = goes_in_parts(connection, action, everyone, selection.order)
    if in_parts and action.is_last:
        # `fill_up` does the rest, and skips whoever may not have the release.
        runs.fill_batch(connection, run.seq, action.number, members, filled_to=0)
        selection.note_total(waiting=fitting)
        return members + action.size
    selection.skip_unfit(everyone, groups, action.number, now)
    choice = everyone
    if action.plan.ownership is not None:
        choice = selection.choice(action.plan.ownership)
        groups = selection.groups(choice)
    if action.plan.is_alone:
        selected = selection.select_alone(choice, groups, action.number, now)
    else:
        limit = PART if in_parts else action.size
        selected = selection.select(
            choice, groups, action.number, limit, now, only_seen=action.only_seen
        )
    if selected >= PART:
        hints.count_anew(connection, t.targets)
    # Who is missing yet is admitted by the next passes.
    members += action.size if in_parts else selected
    runs.grow_batch(connection, run.seq, action.number, members)
    selection.note_total(waiting=fitting - selected)
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
) -> set[int]:
    """Select more devices into a batch: replacements for excused ones, or latecomers.

    Returns those that are to prepare.
    """
    opened = runs.batches_of(connection, run.seq)
    row = next(row for row in opened if row.number == batch)
    plans = plans_of(manifest, run, opened)
    within = None if row.is_last else plan_number(plans, batch).ownership
    selection = _Selection(connection, head, manifest, run, seen_after)
    choice = selection.choice(within)
    is_plain = only_seen and not (row.is_last or row.is_alone)
    if is_plain and (found := selection.select_next(choice, batch, limit, now)):
        return set(found)
    groups = selection.groups(choice)
    selection.skip_unfit(
        choice, {k: v for k, v in groups.items() if k is Fit.OWNED_BY_OTHER}, batch, now
    )
    if row.is_alone:
        selection.select_alone(choice, groups, batch, now)
        return grants.to_prepare(connection, run.seq, batch)
    added = selection.select(choice, groups, batch, limit, now, only_seen=only_seen)
    if row.is_last:
        runs.grow_batch(connection, run.seq, batch, added)
    return grants.to_prepare(connection, run.seq, batch)


class _Selection:
    """Selecting devices into one run."""

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

    def choice(self, within: Ownership | None) -> Choice:
        """The devices of the run, or of a batch's own filters."""
        choice = choice_of(self.head, self.manifest, self.run.seq, within, self.seen_after)
        if within is None:
            since = settled.since(self.connection, self.head, self.manifest, self.run)
            choice = replace(choice, since=since)
        return for_offer(choice, self.manifest, self.offer, self.run)

    def groups(self, choice: Choice) -> Mapping[Fit, list[ConditionGroup]]:
        """Who has no target in the run yet, by how they fit."""
        return groups_by_fit(self.connection, self.manifest, self.offer, self.run, choice)

    def select(
        self,
        choice: Choice,
        groups: Mapping[Fit, list[ConditionGroup]],
        batch: int,
        limit: int,
        now: int,
        *,
        only_seen: bool,
    ) -> int:
        """Select up to `limit` fitting devices into `batch`; returns how many were there."""
        wanted = [
            group
            for group in groups.get(Fit.FITS, [])
            if is_free(self.manifest, self.run, group) and (group.is_seen or not only_seen)
        ]
        entry = Entry(batch, TargetState.PENDING, "Selected", now)
        return select_devices(
            self.connection,
            choice,
            wanted,
            entry,
            order=self.order,
            limit=limit,
            is_everyone=len(wanted) == sum(map(len, groups.values())),
        )

    def select_next(self, choice: Choice, batch: int, limit: int, now: int) -> Sequence[int]:
        """Select `limit` devices by walking; nobody: they must be looked for among all."""
        found = next_seen(
            self.connection, self.head, self.manifest, self.offer, self.run, choice, limit
        )
        if found is None or self.order is None:
            return ()
        entry = Entry(batch, TargetState.PENDING, "Selected", now)
        whole = for_offer(choice, self.manifest, self.offer, self.run)
        select_these(self.connection, whole, found.devices, entry, self.order)
        keep(self.connection, self.head, self.manifest, self.run, found)
        return found.devices

    def select_alone(
        self, choice: Choice, groups: Mapping[Fit, list[ConditionGroup]], batch: int, now: int
    ) -> int:
        """Select safeMode's one device; returns how many there were."""
        free = [
            group
            for group in groups.get(Fit.FITS, [])
            if is_free(self.manifest, self.run, group) and group.is_seen
        ]
        device = find_alone(self.connection, choice, free, self.offer, self.order, now)
        if device is None:
            return 0
        entry = Entry(batch, TargetState.PENDING, "Selected", now)
        return select_devices(self.connection, choice, free, entry, order=self.order, only=device)

    def skip_unfit(
        self, choice: Choice, groups: Mapping[Fit, list[ConditionGroup]], batch: int, now: int
    ) -> None:
        """Give the devices that may not get the release a target that says why."""
        for fits, unfit in groups.items():
            if fits.is_skip:
                entry = Entry(batch, TargetState.SKIPPED, fits.value, now)
                select_devices(self.connection, choice, unfit, entry, order=self.order)

    @property
    def order(self) -> Affine | None:
        """The order that the run froze; None orders by name."""
        return order_of(self.manifest, self.run)

    def note_total(self, waiting: int) -> None:
        """Keep how many devices the run has or will have: the targets and whatever still fits."""
        opened = select(func.count()).where(t.targets.c.run_seq == self.run.seq)
        total = opened.scalar_subquery() + waiting
        runs.set_on_run(self.connection, self.run.seq, target_count=total)
