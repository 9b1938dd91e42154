"""What devices run: versions by component, interned, with what is known to be bad."""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    Connection,
    Select,
    and_,
    bindparam,
    literal_column,
    select,
    true,
    update,
)
from sqlalchemy.sql.dml import Insert

from towline.reconciler.store.given import among_given, rows_given
from towline.reconciler.store.tables import (
    component_versions,
    device_components,
    edge_devices,
    runs,
    targets,
)
from towline.reconciler.store.upserts import insert_ignoring, insert_of
from towline.reconciler.store.version_key import version_key
from towline.schemas.reports import Installed

Running = tuple[int, str, Installed]
"""A device, a component, and what it runs of it."""


def intern_version(connection: Connection, component: str, version: str) -> int:
    """The id of a version of a component."""
    of = {"of_component": component, "of_version": version}
    found = connection.execute(_OF_VERSION, of).scalar_one_or_none()
    if found is None:
        connection.execute(
            insert_ignoring(connection, component_versions).values(
                component=component, version=version, version_key=version_key(version)
            )
        )
        found = connection.execute(_OF_VERSION, of).scalar_one()
    return int(found)


_OF_VERSION = select(component_versions.c.id).where(
    component_versions.c.component == bindparam("of_component"),
    component_versions.c.version == bindparam("of_version"),
)
_OF_COMPONENT = and_(
    device_components.c.device_seq == bindparam("of_device"),
    device_components.c.component == bindparam("of_component"),
)
_RAISING = (
    update(device_components)
    .where(_OF_COMPONENT, device_components.c.rollback_index < bindparam("index"))
    .values(rollback_index=bindparam("index"))
)


def _ensure(connection: Connection, device_seq: int, component: str) -> None:
    connection.execute(
        _having(connection.dialect.name), {"device_seq": device_seq, "component": component}
    )


@lru_cache
def _having(engine: str) -> Insert:
    return insert_of(engine, device_components).on_conflict_do_nothing()


def running(connection: Connection, devices: Iterable[int]) -> dict[tuple[int, str], Installed]:
    """What these devices were last known to run, by device and component."""
    rows = connection.execute(running_of(connection.dialect.name), {"devices": devices}).all()
    return {(row[0], row[1]): Installed(row[2], row[3]) for row in rows}


@lru_cache
def running_of(engine: str) -> Select[Any]:
    """What the `devices` of a statement run: device, component, version and checksum."""
    return (
        select(
            device_components.c.device_seq,
            device_components.c.component,
            component_versions.c.version,
            device_components.c.sha256,
        )
        .join(component_versions, component_versions.c.id == device_components.c.version_id)
        .where(among_given(engine, device_components.c.device_seq, "devices"))
    )


def keep_running(connection: Connection, told: Sequence[Running], now: int) -> None:
    """Take in what devices say that they run now; of a component told twice, the last word."""
    if not told:
        return
    versions = dict.fromkeys((component, each.version) for _, component, each in told)
    ids = {each: intern_version(connection, *each) for each in versions}
    last = {(device_seq, component): each for device_seq, component, each in told}
    rows = [
        {
            "device_seq": device_seq,
            "component": component,
            "version_id": ids[component, each.version],
            "sha256": each.sha256,
        }
        for (device_seq, component), each in last.items()
    ]
    connection.execute(_keeping(connection.dialect.name), {"running": rows, "now": now})


@lru_cache
def _keeping(engine: str) -> Insert:
    names = ("device_seq", "component", "version_id", "sha256")
    given = rows_given(engine, "running", {n: device_components.c[n].type for n in names})
    statement = insert_of(engine, device_components).from_select(
        [*names, "rollback_index", "reported_at"],
        # Without a WHERE, SQLite would read ON CONFLICT as a join's condition.
        select(*given.c, literal_column("0"), bindparam("now")).where(true()),
    )
    return statement.on_conflict_do_update(
        index_elements=["device_seq", "component"],
        set_={n: statement.excluded[n] for n in ("version_id", "sha256", "reported_at")},
    )


def set_versions(
    connection: Connection, device_seq: int, versions: Mapping[str, Installed], now: int
) -> bool:
    """Take in what a device runs; returns True when anything changed."""
    known = running(connection, [device_seq])
    changed = [
        (device_seq, component, installed)
        for component, installed in versions.items()
        if known.get((device_seq, component)) != installed
    ]
    keep_running(connection, changed, now)
    return bool(changed)


def set_time_zone(connection: Connection, device_seq: int, name: str) -> bool:
    """The zone that windows without one of their own are read in; True when it changed."""
    changed = connection.execute(
        update(edge_devices)
        .where(edge_devices.c.seq == device_seq, edge_devices.c.time_zone.is_distinct_from(name))
        .values(time_zone=name)
    )
    return bool(changed.rowcount)


def set_known_bad(connection: Connection, device_seq: int, run_seq: int) -> None:
    """The package that the run had for the device failed: it is not granted again by itself."""
    component, sha256, offer = connection.execute(
        select(targets.c.component, targets.c.sha256, runs.c.offer)
        .join(runs, runs.c.seq == targets.c.run_seq)
        .where(targets.c.run_seq == run_seq, targets.c.device_seq == device_seq)
    ).one()
    _ensure(connection, device_seq, component)
    connection.execute(
        update(device_components)
        .where(
            device_components.c.device_seq == device_seq,
            device_components.c.component == component,
        )
        # Targets of former versions say no checksum, but their run has one package only.
        .values(known_bad=sha256 or offer["sha256"])
    )


def raise_rollback_index(
    connection: Connection, device_seq: int, component: str, index: int
) -> None:
    """A healthy install committed this index: nothing below it runs there again."""
    of = {"of_device": device_seq, "of_component": component}
    connection.execute(_RAISING, of | {"index": index})
