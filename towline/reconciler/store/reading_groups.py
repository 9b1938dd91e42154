"""How many devices a filter owns now."""

from sqlalchemy import Connection, func, select

from towline.manifests.model import Ownership
from towline.reconciler.store.ownership import owned_by
from towline.reconciler.store.tables import edge_devices


def count_owned(connection: Connection, organization: str, ownership: Ownership) -> int:
    """The organization's active devices in a filter that names no groups."""
    return connection.execute(
        select(func.count())
        .select_from(edge_devices)
        .where(
            edge_devices.c.organization == organization,
            edge_devices.c.state == "active",
            owned_by(connection, ownership, {}),
        )
    ).scalar_one()
