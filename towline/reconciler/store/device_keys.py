"""Whose key a device speaks with, and what keeps it out: git, people, or a second machine.

`edge_devices.state` follows from the columns behind it and is written with them. Whoever is shut
out, or gets another key, has no session any more from the same transaction on.
"""

from collections.abc import Collection
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, case, delete, update

from towline.reconciler.store import dirt, outbox
from towline.reconciler.store.among import among
from towline.reconciler.store.tables import edge_devices, sessions
from towline.schemas.keys import PublicKey


class KeyFrom(StrEnum):
    """Who admitted a device's key."""

    GIT = "git"
    """Its Device manifest lists it; when that ceases to, the device is revoked."""
    JOIN = "join"
    PERSON = "person"


class DeviceState(StrEnum):
    """Whether a device may speak."""

    ACTIVE = "active"
    REVOKED = "revoked"
    DUPLICATE = "duplicate"
    """Two machines speak with its key, and nobody knows which one it is."""
    DELETED = "deleted"


def fingerprint(key: PublicKey) -> str:
    """`7f3a-91c2-04be-aa10`: short enough to be read aloud."""
    digits = key.keyid[:16]
    return "-".join(digits[at : at + 4] for at in range(0, 16, 4))


def fingerprint_of(public_key_hex: str | None) -> str | None:
    """Of a stored key; None where a device has none."""
    return fingerprint(PublicKey.from_hex(public_key_hex)) if public_key_hex else None


def state_of(
    *,
    deleted_at: int | None,
    is_revoked_in_git: bool,
    revoked_at: int | None,
    duplicate_at: int | None,
) -> DeviceState:
    """What all of it together means; the gravest counts."""
    if deleted_at is not None:
        return DeviceState.DELETED
    if is_revoked_in_git or revoked_at is not None:
        return DeviceState.REVOKED
    return DeviceState.DUPLICATE if duplicate_at is not None else DeviceState.ACTIVE


def admitted(key: PublicKey, key_from: KeyFrom) -> dict[str, Any]:
    """The columns of a device that is admitted by this key, whatever its former one was out for."""
    return {
        "public_key": key.raw.hex(),
        "key_from": key_from.value,
        "state": DeviceState.ACTIVE.value,
        "revoked_in_git": False,
        "revoked_at": None,
        "duplicate_at": None,
        "deleted_at": None,
    }


def set_admission(
    connection: Connection, organization: str, device_seq: int, values: dict[str, Any]
) -> None:
    """Another key, or none, from now on; history and known-bad stay."""
    _set(connection, organization, device_seq, **values)
    end_sessions(connection, [device_seq])


def renew_key(connection: Connection, device_seq: int, key: PublicKey) -> None:
    """The device's next key, for which its former one vouched; who admitted it stays."""
    connection.execute(
        update(edge_devices)
        .where(edge_devices.c.seq == device_seq)
        .values(public_key=key.raw.hex())
    )
    end_sessions(connection, [device_seq])


def revoke(connection: Connection, organization: str, device_seq: int, now: int) -> None:
    """A person shuts the device out: its key is good for nothing any more."""
    state = DeviceState.REVOKED.value
    _set(connection, organization, device_seq, revoked_at=now, state=state)
    end_sessions(connection, [device_seq])


def let_in_again(connection: Connection, organization: str, device_seq: int) -> None:
    """What a person revoked is good again, with the key that it had."""
    is_duplicate = edge_devices.c.duplicate_at.is_not(None)
    state = case((is_duplicate, DeviceState.DUPLICATE.value), else_=DeviceState.ACTIVE.value)
    _set(connection, organization, device_seq, revoked_at=None, state=state)


def hold_as_duplicate(connection: Connection, organization: str, device_seq: int, now: int) -> None:
    """Neither of the machines is served until the device is enrolled with another key."""
    state = DeviceState.DUPLICATE.value
    _set(connection, organization, device_seq, duplicate_at=now, state=state)
    end_sessions(connection, [device_seq])


def _set(connection: Connection, organization: str, device_seq: int, **values: Any) -> None:
    connection.execute(
        update(edge_devices).where(edge_devices.c.seq == device_seq).values(**values)
    )
    dirt.ask_owners_anew(connection, organization)


def end_sessions(connection: Connection, device_seqs: Collection[int]) -> None:
    """No session of these devices is good any more; polls that wait are answered so."""
    ended = connection.execute(
        delete(sessions)
        .where(among(connection, sessions.c.device_seq, device_seqs))
        .returning(sessions.c.device_seq)
    )
    for device_seq in ended.scalars().all():
        outbox.tell_session(connection, device_seq, "")
        outbox.ring(connection, [device_seq])
