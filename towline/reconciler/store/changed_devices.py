"""Devices that changed, each with the number of its last change: what a pass has not looked at yet.

Triggers write them, so that no writer can forget: a new device, its labels, state or type, what it
runs, its pin, what is known to be bad. The numbers grow, and writers take turns, so that whoever
looked at all devices up to a number has missed nothing below it.
"""

from typing import Any

from sqlalchemy import Connection, Select, bindparam, func, or_, select, update

from towline.reconciler.store import hints
from towline.reconciler.store.remembered import remembered
from towline.reconciler.store.tables import (
    device_components,
    dirty_devices,
    edge_devices,
    runs,
)
from towline.reconciler.store.ties import OF_ALL

_NEWEST = select(func.max(dirty_devices.c.change)).execution_options(**OF_ALL)


def newest(connection: Connection) -> int:
    """The number of the last change, whoever's device it was."""
    return remembered(
        connection,
        "newest change",
        None,
        [edge_devices, device_components],
        lambda: connection.execute(_NEWEST).scalar_one() or 0,
    )


def after(connection: Connection, since: int, limit: int) -> list[int] | None:
    """The devices that changed after `since`, whosesoever; None: there are more than `limit`."""
    named = {"since": since, "limit": limit + 1}
    found = connection.execute(_AFTER, named).scalars().all()
    return None if len(found) > limit else list(found)


_AFTER = (
    select(dirty_devices.c.device_seq)
    .where(dirty_devices.c.change > bindparam("since"))
    .order_by(dirty_devices.c.change)  # by the index, also where Postgres takes many for likely
    .limit(bindparam("limit"))
    .execution_options(**OF_ALL)
)


def only(statement: Select[Any], since: int) -> Select[Any]:
    """A statement over `edge_devices`, of those alone that changed after `since`."""
    changed = statement.where(
        dirty_devices.c.device_seq == edge_devices.c.seq, dirty_devices.c.change > since
    )
    # The few that changed come first; by their labels whole sites would.
    by_change = hints.by("ix_dirty_devices_change", changed, dirty_devices)
    return hints.planned_anew(hints.by_number(by_change, edge_devices))


_SETTLING = (
    update(runs)
    .where(
        runs.c.seq == bindparam("of_run"),
        or_(
            runs.c.settled_change.is_distinct_from(bindparam("change")),
            runs.c.settled_for.is_distinct_from(bindparam("what_for")),
        ),
    )
    .values(settled_change=bindparam("change"), settled_for=bindparam("what_for"))
)


def settle(connection: Connection, run_seq: int, change: int, what_for: str) -> None:
    """Up to that change no device is left that the run could take; `what_for` it was asked."""
    named = {"of_run": run_seq, "change": change, "what_for": what_for}
    connection.execute(_SETTLING, named)


_LOOKS = (runs.c.settled_for, runs.c.walked_for, runs.c.heard_since)
"""What a run need not look at again, as far as they say."""


def unsettle(connection: Connection, organization: str) -> None:
    """Every run looks at all devices once more: a safety net, now and then."""
    connection.execute(
        update(runs)
        .where(
            runs.c.organization == organization,
            or_(*(column.is_not(None) for column in _LOOKS)),
        )
        .values(dict.fromkeys(_LOOKS))
    )
