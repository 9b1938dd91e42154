"""The inventory as a run sees it: owned devices counted in groups of equal condition.

All of them are looked at once. When that leaves nothing to be taken the run is settled, and later
only those are looked at that changed since (`changed_devices`).
"""

from typing import Any

from sqlalchemy import Connection, func, select

from towline.reconciler.store import changed_devices, counters
from towline.reconciler.store.choice import OWNED_BY_OTHER, Choice, is_new, owned
from towline.reconciler.store.condition_keys import ConditionGroup, group_of, joined, key_of
from towline.reconciler.store.remembered import remembered
from towline.reconciler.store.tables import (
    component_versions,
    device_components,
    device_state,
    edge_devices,
    label_sets,
    targets,
)


def owns_any(connection: Connection, choice: Choice) -> bool:
    """Whether the filters own a device, in the run or not."""

    def ask() -> bool:
        statement = select(edge_devices.c.seq).where(owned(connection, choice)).limit(1)
        return connection.execute(statement).first() is not None

    about = (choice.organization, choice.owner, choice.within, choice.groups)
    return remembered(connection, "owned", about, [edge_devices, label_sets], ask)


def has_more_than(connection: Connection, organization: str, run_seq: int) -> bool:
    """False when every device of the organization is in the run: no filter need be asked then.

    A device of which the run only says who else owns it may still enter.
    """
    devices = select(func.count()).where(edge_devices.c.organization == organization)
    total = remembered(
        connection,
        "devices",
        organization,
        [edge_devices],
        lambda: connection.execute(devices).scalar_one(),
    )
    return bool(total > in_run(connection, run_seq))


def in_run(connection: Connection, run_seq: int) -> int:
    """How many devices the run has a target for that will not come back as a new one."""
    standings = counters.of_run(connection, run_seq)
    return sum(n for standing, n in standings.items() if standing.reason != OWNED_BY_OTHER)


def conditions(connection: Connection, choice: Choice) -> list[ConditionGroup]:
    """The devices of a choice without a target in the run, grouped by condition."""
    return remembered(connection, "conditions", choice, MADE_OF, lambda: _ask(connection, choice))


MADE_OF = (
    edge_devices, label_sets, device_state, device_components, component_versions, targets,
)  # fmt: skip
"""Of a run only what never changes is asked."""


def _ask(connection: Connection, choice: Choice) -> list[ConditionGroup]:
    if choice.since is None:
        if not has_more_than(connection, choice.organization, choice.run_seq):
            return []
    elif choice.since >= changed_devices.newest(connection):
        return []
    key = key_of(connection, choice).label("key")
    statement: Any = (
        select(key, func.count())
        .select_from(joined(choice))
        .where(owned(connection, choice), is_new(connection, choice))
        .group_by(key)
    )
    if choice.since is not None:
        statement = changed_devices.only(statement, choice.since)
    rows = connection.execute(statement).all()
    names = versions(connection, choice.component)
    return [group_of(choice, names, key, n) for key, n in rows]


def versions(connection: Connection, component: str) -> dict[int, str]:
    """The component's versions by their numbers."""
    versions = component_versions
    rows = connection.execute(
        select(versions.c.id, versions.c.version).where(versions.c.component == component)
    )
    return {row.id: row.version for row in rows}
