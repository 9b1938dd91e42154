"""Filling a large batch in parts, so that no transaction keeps reports waiting for long.

A batch before the last is filled along the run's order, as if members were missing (`walk`). The
last one takes whoever is left, in whatever order: devices are gone through by their numbers.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from sqlalchemy import Connection, Row

from towline.manifests.model import Deployment
from towline.reconciler.actions import OpenBatch
from towline.reconciler.fitness import Fit
from towline.reconciler.head import Head
from towline.reconciler.offer import Offer
from towline.reconciler.scope import (
    choice_of,
    current_offer,
    fit_of,
    for_offer,
    frozen_order,
    is_claimable,
    is_free,
)
from towline.reconciler.store import fleet, hints, runs, walking
from towline.reconciler.store.causes import is_recorded
from towline.reconciler.store.choice import Affine, Choice
from towline.reconciler.store.condition_keys import group_of
from towline.reconciler.store.selecting import Entry, select_these
from towline.reconciler.store.tables import targets
from towline.schemas.states import TargetState

PART = 5000
"""So many devices are selected by one transaction."""


def goes_in_parts(
    connection: Connection, action: OpenBatch, choice: Choice, order: Affine | None
) -> bool:
    """Whether the batch is filled by more than one transaction.

    Where nobody else writes, where devices are ordered by name, and where all must be looked at
    each time (a batch's own filters, another's claims before the last one) it is filled at once.
    """
    if action.size <= PART or order is None or not is_recorded(connection):
        return False
    if action.plan.is_alone or action.plan.ownership is not None or choice.since is not None:
        return False
    if action.is_last:
        return not action.only_seen
    return not is_claimable(choice)


def fill_up(
    connection: Connection,
    head: Head,
    manifest: Deployment,
    run: Row[Any],
    number: int,
    now: int,
    seen_after: int,
) -> set[int]:
    """Select the next part of the last batch; returns those that are to prepare."""
    offer, _ = current_offer(head, manifest, run)
    assert offer is not None
    # A commit may have asked for the order of names meanwhile, which would need all at once.
    order = frozen_order(run)
    batch = next(row for row in runs.batches_of(connection, run.seq) if row.number == number)
    choice = for_offer(choice_of(head, manifest, run.seq, None, seen_after), manifest, offer, run)
    keys = walking.next_owned(connection, choice, batch.filled_to, PART)
    found: dict[Fit, list[int]] = {}
    for device, fits in _judged(connection, manifest, offer, run, choice, keys):
        found.setdefault(fits, []).append(device)
    for fits, devices in found.items():
        status = TargetState.PENDING if fits is Fit.FITS else TargetState.SKIPPED
        reason = "Selected" if fits is Fit.FITS else fits.value
        select_these(connection, choice, devices, Entry(number, status, reason, now), order)
    selected = found.get(Fit.FITS, [])
    filled_to = max(keys) if len(keys) == PART else None
    runs.fill_batch(connection, run.seq, number, len(selected), filled_to)
    if filled_to is None:
        hints.count_anew(connection, targets)
    return set(selected)


def _judged(
    connection: Connection,
    manifest: Deployment,
    offer: Offer,
    run: Row[Any],
    choice: Choice,
    keys: Mapping[int, int],
) -> Iterator[tuple[int, Fit]]:
    """Who enters the run now, and as what."""
    names = fleet.versions(connection, choice.component)
    entering: dict[int, Fit | None] = {}
    for device in walking.not_in_run(connection, choice, list(keys)):
        key = keys[device]
        if key not in entering:
            group = group_of(choice, names, key, 1)
            fits = fit_of(manifest, offer, run, group)
            enters = is_free(manifest, run, group) if fits is Fit.FITS else fits.is_skip
            entering[key] = fits if enters else None
        if (fits_as := entering[key]) is not None:
            yield device, fits_as
