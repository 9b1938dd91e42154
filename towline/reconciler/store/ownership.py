"""Who owns a device: filters and the claims of other Deployments as conditions over SQL.

A filter is evaluated in Python over the distinct label sets, one implementation for both engines;
the rest of it is SQL over `edge_devices`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

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

from towline.manifests.filters import owns_labels
from towline.manifests.model import DeviceGroup, Ownership
from towline.reconciler.store.among import among
from towline.reconciler.store.columns import unindexed
from towline.reconciler.store.remembered import remembered
from towline.reconciler.store.tables import edge_devices, label_sets, runs, targets
from towline.schemas.states import TargetState

Groups = Mapping[str, DeviceGroup]
RARE = 10
"""A filter is rare that at most one in so many label sets satisfies."""


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
        parts.append(_has_labels(connection, owner))
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


def _has_labels(connection: Connection, owner: Ownership) -> ColumnElement[bool]:
    about = Ownership(labels=owner.labels, expressions=owner.expressions)
    return remembered(
        connection, "labels", about, [label_sets], lambda: _ask_labels(connection, about)
    )


def _ask_labels(connection: Connection, owner: Ownership) -> ColumnElement[bool]:
    rows = connection.execute(select(label_sets.c.id, label_sets.c.digest)).all()
    known = _known(owner)
    _look_at_new(connection, owner, known, [row.id for row in rows if row.digest not in known])
    matching = [row.id for row in rows if known[row.digest]]
    if len(matching) == len(rows):
        return true()
    column: ColumnElement[int] = edge_devices.c.label_set_id
    if len(matching) * RARE > len(rows):
        # Not by the index: most of the table in the order of labels is slower than all of it.
        column = unindexed(column)
    return among(connection, column, matching)


@lru_cache(maxsize=1000)
def _known(_owner: Ownership) -> dict[str, bool]:
    """By digest, whether a label set satisfies a filter: asked once for each."""
    return {}


def _look_at_new(
    connection: Connection, owner: Ownership, known: dict[str, bool], new: Sequence[int]
) -> None:
    for at in range(0, len(new), _SETS_AT_ONCE):
        rows = connection.execute(
            select(label_sets.c.digest, label_sets.c.labels).where(
                label_sets.c.id.in_(new[at : at + _SETS_AT_ONCE])
            )
        )
        known.update({row.digest: owns_labels(owner, row.labels) for row in rows})


_SETS_AT_ONCE = 1000


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
    claims: Sequence[Claim],
    groups: Groups,
) -> ColumnElement[bool]:
    """Another Deployment's claim keeps `deployment` from taking the device.

    Where two own a device, the one whose target is the device's newest keeps it; skipped targets
    hold nothing, so that where neither has one nobody gets it.
    """
    equals = [claim for claim in claims if not claim.takes_over]
    if not equals:
        return taken_over(connection, claims, groups)
    # Each filter once: hundreds of Deployments may say the same.
    owners = dict.fromkeys(claim.owner for claim in equals)
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
