"""What a disruption budget counts: groups of devices by a label's value, and who of them is away.

A group spans the organization; away is every device that holds a grant without a verdict, in any
component and any Deployment. Devices are counted by label sets, which are few.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    func,
    select,
    true,
)

from towline.reconciler.store import hints
from towline.reconciler.store.among import among
from towline.reconciler.store.columns import unindexed
from towline.reconciler.store.tables import IS_AWAY, edge_devices, label_sets, targets


def value_of(group_by: str) -> ColumnElement[str]:
    """The label's value as a column over `label_sets`; null for a device without the label."""
    value: ColumnElement[str] = label_sets.c.labels[group_by].as_string()
    return value


def group_of(
    connection: Connection, devices: Sequence[int], group_by: str
) -> dict[int, str | None]:
    """The group of each of at most a few thousand devices; None without the label."""
    statement: Select[Any] = (
        select(edge_devices.c.seq, value_of(group_by))
        .join(label_sets, label_sets.c.id == edge_devices.c.label_set_id)
        .where(among(connection, edge_devices.c.seq, devices))
    )
    rows = connection.execute(hints.by_number(statement, edge_devices))
    return dict(rows.all())


def away_by_group(connection: Connection, organization: str, group_by: str) -> dict[str, int]:
    """How many devices are away, for every group that has one away.

    A device that holds two grants counts once. The cost grows with the grants, not with the fleet.
    """
    value = value_of(group_by)
    away = select(targets.c.device_seq).where(IS_AWAY)
    devices = edge_devices.join(label_sets)
    is_away: ColumnElement[bool] = edge_devices.c.seq.in_(away)
    if connection.dialect.name == "postgresql":
        # Each once, and before a device is looked at: for an IN Postgres looks at all devices.
        once = away.distinct().subquery("away")
        devices = once.join(devices, edge_devices.c.seq == once.c.device_seq)
        is_away = true()
    rows = connection.execute(
        select(value, func.count())
        .select_from(devices)
        .where(
            is_away,
            # Not by the organization: those who are away are few, and found by their number.
            unindexed(edge_devices.c.organization) == organization,
            value.is_not(None),
        )
        # Not by the value: Postgres takes its two parameters for two different columns.
        .group_by(label_sets.c.id)
    )
    return _added_up(rows.all())


def sizes_by_group(
    connection: Connection, organization: str, group_by: str, values: Collection[str]
) -> dict[str, int]:
    """How many active devices the groups have."""
    value = value_of(group_by)
    # By label sets first: the label is then read once per set and not once per device.
    sets = (
        select(edge_devices.c.label_set_id, func.count().label("n"))
        .where(
            edge_devices.c.organization == organization,
            edge_devices.c.state == "active",
            edge_devices.c.label_set_id.in_(select(label_sets.c.id).where(value.in_(values))),
        )
        .group_by(edge_devices.c.label_set_id)
        .subquery()
    )
    rows = connection.execute(
        select(value, sets.c.n).join(sets, sets.c.label_set_id == label_sets.c.id)
    )
    return _added_up(rows.all())


def _added_up(rows: Iterable[tuple[str, int]]) -> dict[str, int]:
    """A group is as a rule many label sets."""
    sums: dict[str, int] = {}
    for group, n in rows:
        sums[group] = sums.get(group, 0) + n
    return sums


def outside(group_by: str, groups: Collection[str]) -> ColumnElement[bool]:
    """A condition over `edge_devices`: in none of these groups."""
    if not groups:
        return true()
    inside = select(label_sets.c.id).where(value_of(group_by).in_(groups))
    return edge_devices.c.label_set_id.not_in(inside)
