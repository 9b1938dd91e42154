"""How many there are, for figures that are looked at now and then: devices and runs."""

from collections.abc import Mapping
from typing import NamedTuple

from sqlalchemy import Connection, func, select

from towline.reconciler.store.device_keys import DeviceState
from towline.reconciler.store.tables import device_state, edge_devices, runs


class Devices(NamedTuple):
    """How many are not shut out."""

    online: int
    offline: int
    refusing: int
    """Of both: those that do not accept their document."""


def devices(connection: Connection, organization: str, seen_after: int) -> Devices:
    """Devices that are not shut out; who was not seen at that time or later is offline."""
    online, refusing, total = connection.execute(
        select(
            func.count().filter(device_state.c.last_seen >= seen_after),
            func.count().filter(device_state.c.rejected != ""),
            func.count(),
        )
        .select_from(edge_devices)
        .join(device_state, device_state.c.device_seq == edge_devices.c.seq)
        .where(edge_devices.c.organization == organization, edge_devices.c.state == "active")
    ).one()
    return Devices(online, total - online, refusing)


def shut_out(connection: Connection, organization: str) -> Mapping[str, int]:
    """Devices that are served nothing, by the word of their state; those that left are none."""
    states = [DeviceState.REVOKED.value, DeviceState.DUPLICATE.value]
    rows = connection.execute(
        select(edge_devices.c.state, func.count().label("n"))
        .where(edge_devices.c.organization == organization, edge_devices.c.state.in_(states))
        .group_by(edge_devices.c.state)
    )
    return dict.fromkeys(states, 0) | {row.state: row.n for row in rows}


def runs_by_status(connection: Connection, organization: str) -> Mapping[str, int]:
    """Runs by their status, those of former revisions too."""
    rows = connection.execute(
        select(runs.c.status, func.count().label("n"))
        .where(runs.c.organization == organization)
        .group_by(runs.c.status)
    )
    return {row.status: row.n for row in rows}
