"""Whether reports that devices saw acknowledged are in the store: asked from outside, by their ids.

A device's report is its journal and a number that grows in it, of which the store keeps the
highest. Steps and ends have an event each, unless they came too late to count.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar
from uuid import UUID

from sqlalchemy import Connection, select, tuple_

from towline.reconciler.store.tables import device_state, edge_devices, events

Device = tuple[str, str]
"""Organization and id."""
Step = tuple[str, str, str]
"""Device, run and state."""
_T = TypeVar("_T")
_AT_ONCE = 200


def highest(connection: Connection, devices: Sequence[Device]) -> Mapping[Device, tuple[str, int]]:
    """The journal of each known device, and the highest number that is committed of it."""
    found: dict[Device, tuple[str, int]] = {}
    for part in _parts(devices):
        rows = connection.execute(
            select(
                edge_devices.c.organization,
                edge_devices.c.slug,
                device_state.c.journal,
                device_state.c.report_seq,
            )
            .join(device_state, device_state.c.device_seq == edge_devices.c.seq)
            .where(tuple_(edge_devices.c.organization, edge_devices.c.slug).in_(part))
        )
        found |= {(row.organization, row.slug): (row.journal, row.report_seq) for row in rows}
    return found


def told_steps(connection: Connection, runs: Sequence[str]) -> Iterator[Step]:
    """Every step of a device that an event of these runs tells."""
    for part in _parts([UUID(run) for run in runs]):
        rows = connection.execute(
            select(events.c.device, events.c.run, events.c.kind)
            .where(events.c.run.in_(part), events.c.kind.startswith("device."))
            .execution_options(yield_per=1000)
        )
        for device, run, kind in rows:
            yield device, str(run), kind.removeprefix("device.")


def _parts(values: Sequence[_T]) -> Iterator[Sequence[_T]]:
    """An engine takes only so many parameters."""
    for first in range(0, len(values), _AT_ONCE):
        yield values[first : first + _AT_ONCE]
