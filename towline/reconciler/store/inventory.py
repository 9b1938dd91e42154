"""What devices run: versions by component, interned, with what is known to be bad."""

from collections.abc import Mapping
from functools import lru_cache

from sqlalchemy import Connection, and_, bindparam, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.dml import Insert

from towline.reconciler.store.tables import (
    component_versions,
    device_components,
    edge_devices,
    runs,
    targets,
)
from towline.reconciler.store.targets import insert_ignoring
from towline.reconciler.store.version_key import version_key
from towline.schemas.reports import Installed
from towline.schemas.windows import zone_named


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
_RUNNING = (
    update(device_components)
    .where(_OF_COMPONENT)
    .values(
        version_id=bindparam("version"),
        sha256=bindparam("checksum"),
        reported_at=bindparam("now"),
    )
)
_RAISING = (
    update(device_components)
    .where(_OF_COMPONENT, device_components.c.rollback_index < bindparam("index"))
    .values(rollback_index=bindparam("index"))
)
_OF_DEVICE = select(device_components).where(
    device_components.c.device_seq == bindparam("of_device")
)


def _ensure(connection: Connection, device_seq: int, component: str) -> None:
    connection.execute(
        _having(connection.dialect.name), {"device_seq": device_seq, "component": component}
    )


@lru_cache
def _having(dialect_name: str) -> Insert:
    dialect = postgresql if dialect_name == "postgresql" else sqlite
    statement: Insert = dialect.insert(device_components).on_conflict_do_nothing()
    return statement


def set_versions(
    connection: Connection, device_seq: int, versions: Mapping[str, Installed], now: int
) -> bool:
    """Take in what a device runs; returns True when anything changed."""
    rows = connection.execute(_OF_DEVICE, {"of_device": device_seq}) if versions else ()
    known = {row.component: row for row in rows}
    is_changed = False
    for component, installed in versions.items():
        version_id = intern_version(connection, component, installed.version)
        row = known.get(component)
        if row is not None and (row.version_id, row.sha256) == (version_id, installed.sha256):
            continue
        is_changed = True
        _ensure(connection, device_seq, component)
        of = {"of_device": device_seq, "of_component": component}
        runs_now = {"version": version_id, "checksum": installed.sha256, "now": now}
        connection.execute(_RUNNING, of | runs_now)
    return is_changed


def set_time_zone(connection: Connection, device_seq: int, name: object) -> bool:
    """The zone that windows without one of their own are read in; True when it changed.

    What is no IANA name is no word about the zone.
    """
    try:
        zone_named(str(name))
    except ValueError:
        return False
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
