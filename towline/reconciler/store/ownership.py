"""Who owns a device: filters and the claims of other Deployments as conditions over SQL.

A filter is evaluated in Python over the distinct label sets, one implementation for both engines;
the rest of it is SQL over `edge_devices`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    false,
    func,
    not_,
    or_,
    select,
    true,
)

from towline.manifests.filters import may_overlap
from towline.manifests.model import DeviceGroup, Ownership
from towline.reconciler.store.labelled import has_labels
from towline.reconciler.store.tables import edge_devices, runs, targets
from towline.schemas.states import TargetState

Groups = Mapping[str, DeviceGroup]


@dataclass(frozen=True, slots=True)
class Claim:
    """Another Deployment of the component, which may own the same devices."""

    deployment: str
    owner: Ownership
    takes_over: bool = False
    """It replaces this Deployment: what it owns is its own without a question."""


def owned_by(connection: Connection, owner: Ownership, groups: Groups) -> ColumnElement[bool]:
    """The filter as a condition over `edge_devices`."""
    parts: list[ColumnElement[bool]] = []
    if owner.device_types:
        parts.append(edge_devices.c.device_type.in_(owner.device_types))
    if owner.labels or owner.expressions:
        parts.append(has_labels(connection, owner))
    if owner.devices:
        parts.append(edge_devices.c.slug.in_(owner.devices))
    if owner.exclude:
        parts.append(edge_devices.c.slug.not_in(owner.exclude))
    if owner.groups:
        members = [
            owned_by(connection, groups[name].ownership, groups)
            for name in owner.groups
            if name in groups
        ]
        parts.append(or_(false(), *members))
    return and_(true(), *parts)


def taken_over(
    connection: Connection, claims: Sequence[Claim], groups: Groups
) -> ColumnElement[bool]:
    """The device belongs to a Deployment that replaces the asking one."""
    owners = [owned_by(connection, claim.owner, groups) for claim in claims if claim.takes_over]
    return or_(false(), *owners)


def claimed(
    connection: Connection,
    organization: str,
    component: str,
    deployment: str,
    owner: Ownership,
    claims: Sequence[Claim],
    groups: Groups,
) -> ColumnElement[bool]:
    """Another Deployment's claim keeps `deployment` from taking a device that `owner` owns.

    Where two own a device, the one whose target is the device's newest keeps it; skipped targets
    hold nothing, so that where neither has one nobody gets it.
    """
    equals = [claim for claim in claims if not claim.takes_over]
    if not equals:
        return taken_over(connection, claims, groups)
    # Each filter once, and only those that can own the same: there may be hundreds of Deployments.
    owners = [
        each for each in dict.fromkeys(claim.owner for claim in equals) if may_overlap(owner, each)
    ]
    if not owners:
        return taken_over(connection, claims, groups)
    contested = or_(*(owned_by(connection, owner, groups) for owner in owners))
    names = [deployment, *(claim.deployment for claim in equals)]
    holder = func.coalesce(_holder(organization, component, names), "")
    return or_(taken_over(connection, claims, groups), and_(contested, not_(holder == deployment)))


def _holder(organization: str, component: str, names: Sequence[str]) -> ColumnElement[str]:
    """Which of these Deployments has the device's newest target."""
    held = targets.alias("held")
    return (
        select(runs.c.deployment)
        .join(held, held.c.run_seq == runs.c.seq)
        .where(
            held.c.device_seq == edge_devices.c.seq,
            held.c.component == component,
            held.c.status != TargetState.SKIPPED.value,
            runs.c.organization == organization,
            runs.c.deployment.in_(names),
        )
        .order_by(held.c.run_seq.desc())
        .limit(1)
        .correlate(edge_devices)
        .scalar_subquery()
    )
