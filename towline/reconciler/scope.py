"""What a run may take: its layout, its offer, and the devices that fit, counted or chosen.

Shared by `observe`, which counts them for a decision, and `selection`, which takes them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, Row, func, select

from towline.manifests.model import BatchPlan, Deployment, Ownership
from towline.reconciler.decide import RETURN_PLANS
from towline.reconciler.fitness import Fit, fit
from towline.reconciler.head import Head
from towline.reconciler.offer import Offer, find_offer
from towline.reconciler.snapshot import FleetSeen
from towline.reconciler.store import fleet
from towline.reconciler.store import tables as t
from towline.reconciler.store.fleet import Choice, Condition
from towline.schemas.states import TargetState


def plans_of(manifest: Deployment, run: Row[Any]) -> Sequence[BatchPlan]:
    """How the run is laid out."""
    return RETURN_PLANS if run.is_return else manifest.batches


def plan_number(plans: Sequence[BatchPlan], number: int) -> BatchPlan:
    """Batch `number` of a strategy; an edit of the strategy may have made it shorter: the rest."""
    return plans[number] if number < len(plans) else plans[-1]


def current_offer(head: Head, manifest: Deployment, run: Row[Any]) -> tuple[Offer | None, str]:
    """What the run offers: looked at again at each head until it has begun.

    Then the release is kept, and what is tuning (URLs, deviceTimeout) follows the manifest.
    """
    if run.offer is not None:
        kept = Offer.parse(run.offer)
        urls, timeout_s = manifest.packages[0].urls, manifest.device_timeout_s
        return replace(kept, urls=urls, device_timeout_s=timeout_s), ""
    return find_offer(manifest, head.statements, head.root)


def choice_of(
    head: Head, manifest: Deployment, run_seq: int, within: Ownership | None, seen_after: int
) -> Choice:
    """The devices that the run may take."""
    return Choice(
        organization=head.organization,
        owner=manifest.ownership,
        within=within,
        groups=head.groups,
        component=manifest.component,
        run_seq=run_seq,
        seen_after=seen_after,
        rivals=tuple(
            other.ownership
            for name, other in head.deployments.items()
            if name != manifest.name and other.component == manifest.component
        ),
    )


def wanted_presence(manifest: Deployment, run: Row[Any]) -> bool | None:
    """Eligibility by `filters.status`: seen lately, not seen, or (None) no matter."""
    status = manifest.eligibility.status
    return None if status is None or run.is_return else status == "online"


def wants_status(manifest: Deployment, run: Row[Any], is_seen: bool) -> bool:
    """True when a device seen lately or not may be selected."""
    return wanted_presence(manifest, run) in (None, is_seen)


def fits_of(
    manifest: Deployment, offer: Offer, run: Row[Any], conditions: set[Condition]
) -> Mapping[Condition, Fit]:
    """How each condition fits the run's release."""
    return {
        condition: fit(manifest, offer, condition, is_return=run.is_return, is_retry=run.is_retry)
        for condition in conditions
    }


def count_targets(
    connection: Connection, run_seq: int, head: Head, within: Ownership | None
) -> int:
    """Targets of the run that count for a batch's goal: not skipped, in the batch's filters."""
    statement = (
        select(func.count())
        .select_from(t.targets)
        .join(t.edge_devices, t.edge_devices.c.seq == t.targets.c.device_seq)
        .where(
            t.targets.c.run_seq == run_seq,
            t.targets.c.status != TargetState.SKIPPED.value,
        )
    )
    if within is not None:
        statement = statement.where(fleet.owned_by(connection, within, head.groups))
    return connection.execute(statement).scalar_one()


def fleet_seen(
    connection: Connection,
    manifest: Deployment,
    offer: Offer | None,
    run: Row[Any],
    choice: Choice,
) -> FleetSeen:
    owned = fleet.count_owned(connection, choice)
    if offer is None:
        return FleetSeen(owned=owned)
    groups = fleet.conditions(connection, choice)
    fits = fits_of(manifest, offer, run, {group.condition for group in groups})
    matching = seen = busy = 0
    for group in groups:
        if fits[group.condition] is not Fit.FITS:
            continue
        if group.is_busy:
            busy += group.n
        elif not wants_status(manifest, run, group.is_seen):
            continue
        else:
            matching += group.n
            seen += group.n if group.is_seen else 0
    return FleetSeen(owned, matching, seen, busy)
