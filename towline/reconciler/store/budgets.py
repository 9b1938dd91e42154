"""What a disruption budget counts: groups of devices by a label's value, and who of them is away.

A group spans the organization; away is every device that holds a grant without a verdict, in any
component and any Deployment. Only the groups that are asked for are counted, by label sets.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    and_,
    func,
    literal_column,
    or_,
    select,
    true,
)

from towline.reconciler.store.tables import edge_devices, label_sets, targets
from towline.schemas.states import ACTIVE_TARGETS, TargetState


def value_of(group_by: str) -> ColumnElement[str]:
    """The label's value as a column over `label_sets`; null for a device without the label."""
    value: ColumnElement[str] = label_sets.c.labels[group_by].as_string()
    return value


def group_of(
    connection: Connection, devices: Sequence[int], group_by: str
) -> dict[int, str | None]:
    """The group of each of at most a few thousand devices; None without the label."""
    rows = connection.execute(
        select(edge_devices.c.seq, value_of(group_by))
        .join(label_sets, label_sets.c.id == edge_devices.c.label_set_id)
        .where(edge_devices.c.seq.in_(devices))
    )
    return dict(rows.all())


def away_by_group(
    connection: Connection, organization: str, group_by: str, values: Collection[str] | None = None
) -> dict[str, int]:
    """How many devices of the groups are away; `values` None asks for every group with one away.

    A device that holds two grants counts once. The cost grows with the grants, not with the fleet.
    """
    away = select(targets.c.device_seq).where(_is_away()).distinct().subquery()
    statement = _counted(organization, group_by, values).join(
        away, away.c.device_seq == edge_devices.c.seq
    )
    return _added_up(connection.execute(statement))


def _is_away() -> ColumnElement[bool]:
    """Granted and without a verdict; in literals, so that a partial index can serve it."""
    completed: ColumnElement[str] = literal_column(f"'{TargetState.COMPLETED}'")
    return and_(
        targets.c.granted_at.is_not(None),
        or_(
            targets.c.status.in_([literal_column(f"'{word}'") for word in ACTIVE_TARGETS]),
            and_(targets.c.status == completed, targets.c.verified_at.is_(None)),
        ),
    )


def sizes_by_group(
    connection: Connection, organization: str, group_by: str, values: Collection[str]
) -> dict[str, int]:
    """How many active devices the groups have."""
    statement = _counted(organization, group_by, values).where(edge_devices.c.state == "active")
    return _added_up(connection.execute(statement))


def _counted(
    organization: str, group_by: str, values: Collection[str] | None
) -> "Select[str, int]":
    value = value_of(group_by)
    is_asked = value.is_not(None) if values is None else value.in_(values)
    return (
        select(value, func.count())
        .select_from(label_sets)
        .join(edge_devices, edge_devices.c.label_set_id == label_sets.c.id)
        .where(edge_devices.c.organization == organization, is_asked)
        .group_by(label_sets.c.id)
    )


def _added_up(rows: Iterable[tuple[str, int]]) -> dict[str, int]:
    """A group is as a rule many label sets."""
    sums: Counter[str] = Counter()
    for group, n in rows:
        sums[group] += n
    return dict(sums)


def outside(group_by: str, groups: Collection[str]) -> ColumnElement[bool]:
    """A condition over `edge_devices`: in none of these groups."""
    if not groups:
        return true()
    inside = select(label_sets.c.id).where(value_of(group_by).in_(groups))
    return edge_devices.c.label_set_id.not_in(inside)
