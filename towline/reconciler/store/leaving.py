"""Devices that leave the fleet: deleted, so that nothing counts them, or purged, so that nothing
names them, or replaced by another device.

The row stays: runs remain what they were, and nobody gets the id by chance.
"""

from typing import Any

from sqlalchemy import Connection, Text, cast, delete, insert, or_, select, update

from towline.reconciler.store import device_keys, labels
from towline.reconciler.store.access import KnownDevice, find_device
from towline.reconciler.store.admissions import StateForbids
from towline.reconciler.store.device_keys import DeviceState
from towline.reconciler.store.tables import (
    device_components,
    device_state,
    device_tokens,
    edge_devices,
    enrolments,
    events,
    overrides,
    runs,
    targets,
)
from towline.schemas.identifiers import device_uuid

_NOTHING: dict[str, Any] = {
    "facts": {},
    "last_seen": None,
    "seen_before": None,
    "rejected": "",
    "told_zone": None,
}


def leave(connection: Connection, organization: str, slug: str, now: int) -> int:
    """Take a device out of the inventory; returns its number.

    Its id is given to another key, or to the same one, by a person only. Raises StateForbids.
    """
    seq = _known(connection, organization, slug).seq
    values: dict[str, Any] = {
        "public_key": None,
        "key_from": "",
        "state": DeviceState.DELETED.value,
        "revoked_at": None,
        "duplicate_at": None,
        "deleted_at": now,
        "label_set_id": labels.intern_labels(connection, {}),
        "labels_git": {},
        "labels_people": {},
        "labels_join": {},
    }
    device_keys.set_admission(connection, organization, seq, values)
    for table in (device_components, device_tokens):
        connection.execute(delete(table).where(table.c.device_seq == seq))
    connection.execute(
        update(device_state).where(device_state.c.device_seq == seq).values(**_NOTHING)
    )
    _forget_waiting(connection, organization, slug)
    _forget_names(connection, organization, slug)
    return seq


def purge(connection: Connection, organization: str, slug: str, now: int) -> int:
    """As `leave`, and nothing names the device any more: what is left of it has its UUID.

    Nobody gets its id. Raises StateForbids.
    """
    seq, uuid = leave(connection, organization, slug, now), str(device_uuid(organization, slug))
    _call_otherwise(connection, organization, seq, slug, uuid)
    connection.execute(
        update(edge_devices)
        .where(edge_devices.c.seq == seq)
        .values(
            slug=uuid,
            external_id=None,
            time_zone=None,
        )
    )
    connection.execute(
        delete(events).where(events.c.organization == organization, events.c.device == slug)
    )
    connection.execute(
        update(targets).where(targets.c.device_seq == seq).values(error_message=None)
    )
    return seq


def replace(
    connection: Connection, organization: str, old: str, new: str, now: int
) -> dict[str, str]:
    """`new` takes the place of `old`, which is shut out; returns the labels that it has then.

    It gets all labels that counted for `old`, and is named where people named that. Raises
    StateForbids.
    """
    former, follower = (_known(connection, organization, slug) for slug in (old, new))
    if follower.state is not DeviceState.ACTIVE:
        raise StateForbids(f"{new} is {follower.state}: admit it first")
    if former.seq == follower.seq or former.device_type != follower.device_type:
        raise StateForbids(
            f"{old} is a {former.device_type}, {new} a {follower.device_type}: a device is replaced"
            " by another one of its type"
        )
    theirs = labels.sources_of(connection, organization, old)
    own = labels.sources_of(connection, organization, new)
    assert theirs is not None and own is not None
    by_people = {**own.people, **theirs.in_force}
    labels.set_from_people(connection, organization, own, by_people)
    _name_instead(connection, organization, old, new)
    if former.state is DeviceState.ACTIVE:
        device_keys.revoke(connection, organization, former.seq, now)
    return {**own.join, **by_people, **own.git}


def _known(connection: Connection, organization: str, slug: str) -> KnownDevice:
    found = find_device(connection, organization, slug)
    if found is None or found.state is DeviceState.DELETED:
        raise StateForbids(f"there is no device {slug}")
    return found


def _forget_waiting(connection: Connection, organization: str, slug: str) -> None:
    connection.execute(
        delete(enrolments).where(
            enrolments.c.organization == organization, enrolments.c.slug == slug
        )
    )


_OF_SEVERAL = (
    "target.granted",
    "target.healed",
    "target.sent_back",
    "target.failed",
    "device.revoked",
    "labels.changed",
)
"""Kinds of events whose data may list devices beside the one that they are of."""


def _call_otherwise(
    connection: Connection, organization: str, device_seq: int, slug: str, uuid: str
) -> None:
    """In events that tell of other devices, too, it is called by its UUID from now on."""
    in_runs = (
        select(runs.c.deployment)
        .join(targets, targets.c.run_seq == runs.c.seq)
        .where(runs.c.organization == organization, targets.c.device_seq == device_seq)
    )
    of_it = select(events.c.data).where(
        events.c.organization == organization, events.c.device == slug
    )
    told_with = {
        name for data in connection.execute(of_it).scalars() for name in data.get("devices", ())
    }
    listing = select(events.c.id, events.c.message, events.c.data).where(
        events.c.organization == organization,
        or_(events.c.deployment.in_(in_runs), events.c.device.in_(told_with)),
        events.c.kind.in_(_OF_SEVERAL),
        cast(events.c.data, Text).contains(f'"{slug}"', autoescape=True),
    )
    for row in connection.execute(listing).all():
        names = [uuid if name == slug else name for name in row.data.get("devices", ())]
        words = [uuid if word == slug else word for word in row.message.split(" ")]
        connection.execute(
            update(events)
            .where(events.c.organization == organization, events.c.id == row.id)
            .values(message=" ".join(words), data={**row.data, "devices": names})
        )


def _named(connection: Connection, organization: str, slug: str) -> list[dict[str, Any]]:
    """The overrides by which people named a device."""
    rows = connection.execute(
        select(overrides).where(
            overrides.c.organization == organization, overrides.c.key == "device"
        )
    )
    return [dict(row._mapping) for row in rows if row.value == slug]


def _forget_names(connection: Connection, organization: str, slug: str) -> None:
    for row in _named(connection, organization, slug):
        connection.execute(
            delete(overrides).where(
                overrides.c.organization == organization, overrides.c.id == row["id"]
            )
        )


def _name_instead(connection: Connection, organization: str, old: str, new: str) -> None:
    known = {row["deployment"] for row in _named(connection, organization, new)}
    for row in _named(connection, organization, old):
        if row["deployment"] not in known:
            named = {key: value for key, value in row.items() if key != "id"}
            connection.execute(insert(overrides).values(**named | {"value": new}))
