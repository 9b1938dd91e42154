"""The inventory as a run sees it: who is owned, how fit, and in which order.

A filter is evaluated in Python over the distinct label sets, one implementation for
both engines; devices are then counted and chosen by SQL in groups of equal condition.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    String,
    and_,
    case,
    cast,
    exists,
    false,
    func,
    literal,
    or_,
    select,
    true,
)

from towline.manifests.filters import owns_labels
from towline.manifests.model import DeviceGroup, Ownership
from towline.reconciler.store.tables import (
    component_versions,
    device_components,
    device_state,
    edge_devices,
    label_sets,
    targets,
)
from towline.schemas.states import ACTIVE_TARGETS


@dataclass(frozen=True, slots=True)
class Condition:
    """What decides whether a device needs a release and may get it."""

    version: str | None
    sha256: str | None
    known_bad: str | None
    rollback_index: int
    device_type: str


@dataclass(frozen=True, slots=True)
class ConditionGroup:
    """So many owned devices that have no target in the run are in one condition."""

    condition: Condition
    is_seen: bool
    is_busy: bool
    """Has an active target of the same component in another run."""
    n: int


@dataclass(frozen=True, slots=True)
class Choice:
    """Which devices a question is about: owned by `owner`, of `component`, not in `run_seq`."""

    organization: str
    owner: Ownership
    within: Ownership | None
    """The batch's own filters, if any."""
    groups: Mapping[str, DeviceGroup]
    component: str
    run_seq: int
    seen_after: int
    """Seen lately means: not before this time."""
    rivals: tuple[Ownership, ...] = ()
    """Of other Deployments of the component: what two own, neither may take."""


def owned_by(
    connection: Connection, owner: Ownership, groups: Mapping[str, DeviceGroup]
) -> ColumnElement[bool]:
    """The filter as a condition over `edge_devices`."""
    parts: list[ColumnElement[bool]] = []
    if owner.device_types:
        parts.append(edge_devices.c.device_type.in_(owner.device_types))
    if owner.labels or owner.expressions:
        parts.append(edge_devices.c.label_set_id.in_(_label_sets(connection, owner)))
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


def _label_sets(connection: Connection, owner: Ownership) -> list[int]:
    rows = connection.execute(select(label_sets.c.id, label_sets.c.labels))
    return [number for number, labels in rows if _matches(owner, tuple(sorted(labels.items())))]


@lru_cache(maxsize=200_000)
def _matches(owner: Ownership, labels: tuple[tuple[str, str], ...]) -> bool:
    return owns_labels(owner, dict(labels))


def _is_active_elsewhere(choice: Choice) -> ColumnElement[bool]:
    other = targets.alias("other")
    return exists(
        select(literal(1)).where(
            other.c.device_seq == edge_devices.c.seq,
            other.c.component == choice.component,
            other.c.status.in_([s.value for s in ACTIVE_TARGETS]),
        )
    )


def _owned(connection: Connection, choice: Choice) -> ColumnElement[bool]:
    conditions = [
        edge_devices.c.organization == choice.organization,
        edge_devices.c.state == "active",
        owned_by(connection, choice.owner, choice.groups),
    ]
    conditions += [~owned_by(connection, rival, choice.groups) for rival in choice.rivals]
    if choice.within is not None:
        conditions.append(owned_by(connection, choice.within, choice.groups))
    return and_(*conditions)


def _is_new(choice: Choice) -> ColumnElement[bool]:
    mine = targets.alias("mine")
    return ~exists(
        select(literal(1)).where(
            mine.c.device_seq == edge_devices.c.seq, mine.c.run_seq == choice.run_seq
        )
    )


def _joined(choice: Choice) -> Any:
    return (
        edge_devices.join(device_state, device_state.c.device_seq == edge_devices.c.seq)
        .outerjoin(
            device_components,
            and_(
                device_components.c.device_seq == edge_devices.c.seq,
                device_components.c.component == choice.component,
            ),
        )
        .outerjoin(component_versions, component_versions.c.id == device_components.c.version_id)
    )


_CONDITION = (
    component_versions.c.version,
    device_components.c.sha256,
    device_components.c.known_bad,
    func.coalesce(device_components.c.rollback_index, 0),
    edge_devices.c.device_type,
)


def _key() -> ColumnElement[str]:
    """One text per condition, so that a set of conditions is one IN."""
    parts: list[ColumnElement[str]] = []
    for column in _CONDITION:
        parts += [func.coalesce(cast(column, String), ""), literal("|")]
    key = parts[0]
    for part in parts[1:]:
        key = key.concat(part)
    return key


def _key_of(condition: Condition) -> str:
    values = (
        condition.version,
        condition.sha256,
        condition.known_bad,
        condition.rollback_index,
        condition.device_type,
    )
    return "".join(f"{'' if value is None else value}|" for value in values)


def count_owned(connection: Connection, choice: Choice) -> int:
    """How many devices the filters own, in the run or not."""
    statement = select(func.count()).select_from(edge_devices).where(_owned(connection, choice))
    return connection.execute(statement).scalar_one()


def conditions(connection: Connection, choice: Choice) -> list[ConditionGroup]:
    """The owned devices without a target in the run, grouped by condition."""
    is_seen = func.coalesce(device_state.c.last_seen, 0) >= choice.seen_after
    flags = (
        case((is_seen, 1), else_=0).label("is_seen"),
        case((_is_active_elsewhere(choice), 1), else_=0).label("is_busy"),
    )
    rows = connection.execute(
        select(*_CONDITION, *flags, func.count())
        .select_from(_joined(choice))
        .where(_owned(connection, choice), _is_new(choice))
        .group_by(*_CONDITION, *flags)
    )
    return [ConditionGroup(Condition(*row[:5]), bool(row[5]), bool(row[6]), row[7]) for row in rows]


def choose(
    connection: Connection,
    choice: Choice,
    wanted: Iterable[Condition],
    *,
    limit: int,
    order: Callable[[int], int] | None,
    seen: bool | None = None,
) -> list[tuple[int, int]]:
    """The next `limit` free devices in one of the `wanted` conditions, as (seq, position).

    `order` gives a device's position; None orders by name. `seen` asks for devices that were seen
    lately, or for those that were not.
    """
    where = [
        _owned(connection, choice),
        _is_new(choice),
        ~_is_active_elsewhere(choice),
        _key().in_(sorted({_key_of(condition) for condition in wanted})),
    ]
    is_seen = func.coalesce(device_state.c.last_seen, 0) >= choice.seen_after
    if seen is not None:
        where.append(is_seen if seen else ~is_seen)
    rows = connection.execute(
        select(edge_devices.c.seq)
        .select_from(_joined(choice))
        .where(*where)
        .order_by(edge_devices.c.slug)
    ).scalars()
    if order is None:
        ranked: Sequence[tuple[int, int]] = [(seq, n) for n, seq in enumerate(rows)]
    else:
        ranked = sorted(((seq, order(seq)) for seq in rows), key=lambda pair: pair[1])
    return list(ranked[:limit])
