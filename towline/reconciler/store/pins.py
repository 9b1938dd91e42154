"""Pins: a device that a person sent back keeps what it went back to until the next revision."""

from typing import Any

from sqlalchemy import Connection, Row, select, update

from towline.reconciler.store.tables import device_components, targets

_UNPINNED = dict.fromkeys(("pin_version", "pin_sha256", "pin_revision", "pinned_by"))


def pin(connection: Connection, target: Row[Any], revision: str, author: str) -> None:
    """Keep what the target's device comes from, as long as `revision` is wanted."""
    connection.execute(
        update(device_components)
        .where(
            device_components.c.device_seq == target.device_seq,
            device_components.c.component == target.component,
        )
        .values(
            pin_version=target.from_version,
            pin_sha256=target.from_sha256,
            pin_revision=revision,
            pinned_by=author,
        )
    )


def unpin(connection: Connection, device_seq: int, component: str) -> bool:
    """Lift a device's pin; False when there was none."""
    done = connection.execute(
        update(device_components)
        .where(
            device_components.c.device_seq == device_seq,
            device_components.c.component == component,
            device_components.c.pin_sha256.is_not(None),
        )
        .values(**_UNPINNED)
    )
    return bool(done.rowcount)


def lift_older(connection: Connection, run_seqs: Any, component: str, revision: str) -> None:
    """Another revision is wanted: the pins of devices that these runs had are over."""
    members = select(targets.c.device_seq).where(targets.c.run_seq.in_(run_seqs))
    connection.execute(
        update(device_components)
        .where(
            device_components.c.component == component,
            device_components.c.pin_sha256.is_not(None),
            device_components.c.pin_revision != revision,
            device_components.c.device_seq.in_(members),
        )
        .values(**_UNPINNED)
    )
