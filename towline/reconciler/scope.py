"""What a run may take: its layout, its offer, and the devices that fit, counted or chosen.

Shared by `observe`, which counts them for a decision, and `selection`, which takes them.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, func, not_, select

from towline.manifests.filters import may_overlap
from towline.manifests.model import BatchPlan, Deployment, Ownership
from towline.reconciler import arms as arms_of
from towline.reconciler import settled
from towline.reconciler.alone import find_alone
from towline.reconciler.cohort import Order
from towline.reconciler.fitness import Fit, fit
from towline.reconciler.head import Head
from towline.reconciler.layout import plans_for
from towline.reconciler.offer import Offer, OfferedRelease, retuned
from towline.reconciler.snapshot import FleetSeen
from towline.reconciler.statements import find_offer
from towline.reconciler.store import counters, fleet, ownership
from towline.reconciler.store import tables as t
from towline.reconciler.store.choice import Affine, Choice, Portion
from towline.reconciler.store.condition_keys import ConditionGroup
from towline.reconciler.store.ownership import Claim
from towline.schemas.states import RunState, TargetState


def plans_of(
    manifest: Deployment, run: Row[Any], opened: Sequence[Row[Any]]
) -> Sequence[BatchPlan]:
    """How the run is laid out, of which these batches were opened."""
    began_alone = bool(opened[0].is_alone) if opened else None
    return plans_for(manifest, is_return=run.is_return, began_alone=began_alone)


def current_offer(head: Head, manifest: Deployment, run: Row[Any]) -> tuple[Offer | None, str]:
    """What the run offers: looked at again at each head until it has begun.

    Then the releases are kept, and what is tuning (URLs, deviceTimeout, windows) follows the
    manifest.
    """
    if run.offer is not None:
        return retuned(Offer.parse(run.offer, run.target_version), manifest), ""
    return find_offer(manifest, head.statements, head.root)


def choice_of(
    head: Head, manifest: Deployment, run_seq: int, within: Ownership | None, seen_after: int
) -> Choice:
    """The devices that the run may take; `for_offer` adds which release is for whom."""
    return Choice(
        organization=head.organization,
        deployment=manifest.name,
        revision=manifest.revision,
        owner=manifest.ownership,
        within=within,
        groups=head.groups,
        component=manifest.component,
        run_seq=run_seq,
        seen_after=seen_after,
        claims=claims_of(head, manifest),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _This:
    """A thing that is the same only as itself: what is large is not compared."""

    value: Any

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _This) and other.value is self.value

    def __hash__(self) -> int:
        return id(self.value)


def claims_of(head: Head, manifest: Deployment) -> tuple[Claim, ...]:
    """Other Deployments of the component, but those that this one replaces."""
    return _claims_of(_This(head.deployments), _This(manifest))


@lru_cache(maxsize=512)
def _claims_of(deployments: _This, asking: _This) -> tuple[Claim, ...]:
    """Each pass asks again, and there may be hundreds of Deployments."""
    manifest: Deployment = asking.value
    claims = []
    for name, other in sorted(deployments.value.items()):
        if name == manifest.name or other.component != manifest.component:
            continue
        replaces, is_replaced = name in manifest.replaces, manifest.name in other.replaces
        # Two that replace each other are a conflict like any other.
        if is_replaced or not replaces:
            claims.append(Claim(name, other.ownership, is_replaced and not replaces))
    return tuple(claims)


def still_owned(connection: Connection, head: Head, manifest: Deployment) -> ColumnElement[bool]:
    """A selected device stays in the run: active, owned, and not taken over by a replacement."""
    return and_(
        t.edge_devices.c.state == "active",
        ownership.owned_by(connection, manifest.ownership, head.groups),
        not_(ownership.taken_over(connection, claims_of(head, manifest), head.groups)),
    )


def for_offer(choice: Choice, manifest: Deployment, offer: Offer, run: Row[Any]) -> Choice:
    """The choice with what each release is for; after completion only the first arm is left."""
    arms = manifest.arms
    points = arms_of.bounds(arms)
    if arms and run.status == RunState.COMPLETED.value:
        points = {arms[0].name: (0, arms_of.RANGE)}
    return replace(
        choice,
        spread=affine(arms_of.spread(manifest.name)) if arms else None,
        portions=tuple(_portion(each, points) for each in offer.releases),
    )


def affine(order: Order) -> Affine:
    """An order as the store computes it."""
    return Affine(order.p, order.mul, order.off)


def _portion(release: OfferedRelease, points: Mapping[str, tuple[int, int]]) -> Portion:
    return Portion(
        sha256=release.sha256,
        rollback_index=release.rollback_index,
        arm=release.arm,
        owners=(
            Ownership(device_types=release.device_types, labels=release.labels),
            Ownership(device_types=release.signed_types),
        ),
        points=None if release.arm is None else points.get(release.arm, (0, 0)),
    )


def wants_status(manifest: Deployment, run: Row[Any], is_seen: bool) -> bool:
    """Eligibility by `filters.status`: whether a device seen lately, or not, may be selected."""
    status = manifest.eligibility.status
    return status is None or run.is_return or (status == "online") is is_seen


def groups_by_fit(
    connection: Connection, manifest: Deployment, offer: Offer, run: Row[Any], choice: Choice
) -> Mapping[Fit, list[ConditionGroup]]:
    """The devices without a target in the run, by how they fit its releases."""
    found: dict[Fit, list[ConditionGroup]] = {}
    for group in fleet.conditions(connection, for_offer(choice, manifest, offer, run)):
        found.setdefault(fit_of(manifest, offer, run, group), []).append(group)
    return found


def fit_of(manifest: Deployment, offer: Offer, run: Row[Any], group: ConditionGroup) -> Fit:
    """How the devices of a group fit the run's releases."""
    return fit(manifest, offer, group.condition, is_return=run.is_return, is_retry=run.is_retry)


def is_claimable(choice: Choice) -> bool:
    """Whether another Deployment may own devices of the choice: whoever is another's is told so."""
    return any(may_overlap(choice.owner, claim.owner) for claim in choice.claims)


def count_targets(
    connection: Connection, run_seq: int, head: Head, within: Ownership | None
) -> int:
    """Targets of the run that count for a batch's goal: not skipped, in the batch's filters."""
    if within is None:
        standings = counters.of_run(connection, run_seq)
        return sum(n for each, n in standings.items() if each.status != TargetState.SKIPPED.value)
    return connection.execute(
        select(func.count())
        .select_from(t.targets)
        .join(t.edge_devices, t.edge_devices.c.seq == t.targets.c.device_seq)
        .where(
            t.targets.c.run_seq == run_seq,
            t.targets.c.status != TargetState.SKIPPED.value,
            ownership.owned_by(connection, within, head.groups),
        )
    ).scalar_one()


def fleet_seen(
    connection: Connection,
    manifest: Deployment,
    offer: Offer | None,
    run: Row[Any],
    choice: Choice,
    alone_at: int | None = None,
) -> FleetSeen:
    """The devices that the run may still take, counted.

    `alone_at`: at this time one device is to go first, and only a safe one counts as seen.
    """
    is_owner = choice.since is not None or fleet.owns_any(connection, replace(choice, within=None))
    if offer is None:
        return FleetSeen(is_owner=is_owner)
    groups = groups_by_fit(connection, manifest, offer, run, choice)
    fitting = groups.get(Fit.FITS, [])
    free = [group for group in fitting if is_free(manifest, run, group)]
    busy = [group for group in fitting if group.is_busy]
    # What is installed on it now may be another release when that grant is over.
    busy += [group for group in groups.get(Fit.THERE, []) if group.is_installing]
    seen = [group for group in free if group.is_seen]
    n_seen = count_devices(seen)
    if alone_at is not None:
        whole = for_offer(choice, manifest, offer, run)
        order = order_of(manifest, run)
        n_seen = int(find_alone(connection, whole, seen, offer, order, alone_at) is not None)
    return FleetSeen(
        is_owner=is_owner,
        matching=count_devices(free),
        seen=n_seen,
        busy=count_devices(busy),
        left=count_devices(free) + count_devices(busy),
        is_settled=settled.leaves_nobody(groups),
    )


def order_of(manifest: Deployment, run: Row[Any]) -> Affine | None:
    """The order that the run froze; None orders by name."""
    return None if manifest.order == "name" else frozen_order(run)


def frozen_order(run: Row[Any]) -> Affine:
    """The same, whatever the manifest says of it by now."""
    return affine(Order(run.perm_p, run.perm_step, run.perm_off))


def is_free(manifest: Deployment, run: Row[Any], group: ConditionGroup) -> bool:
    """True when devices of a fitting group may be selected now."""
    return not group.is_busy and wants_status(manifest, run, group.is_seen)


def count_devices(groups: Iterable[ConditionGroup]) -> int:
    """How many devices are in these groups."""
    return sum(group.n for group in groups)
