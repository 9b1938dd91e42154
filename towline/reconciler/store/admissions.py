"""Who waits to be admitted, and what a person says to that: approve, deny, revoke."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, and_, delete, func, select

from towline.reconciler.store import device_keys
from towline.reconciler.store.access import KnownDevice, find_device
from towline.reconciler.store.device_keys import (
    DeviceState,
    KeyFrom,
    fingerprint,
    fingerprint_of,
)
from towline.reconciler.store.enrolling import PENDING_LIFE_S, Applicant, Enrolled, admit
from towline.reconciler.store.git_devices import GitDevice
from towline.reconciler.store.reading_batches import when
from towline.reconciler.store.tables import edge_devices, enrolments
from towline.schemas.keys import PublicKey


class NobodyWaits(Exception):
    """Nothing waits under that id and fingerprint; the text says what does."""


class StateForbids(Exception):
    """The state of the device does not allow it; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Admitted:
    """What an approval did."""

    device_seq: int
    is_new: bool
    is_key_changed: bool


def waiting(connection: Connection, organization: str, now: int) -> list[dict[str, Any]]:
    """Everything that waits, oldest first, as the API shows it.

    `key_change` says whose key would be replaced: the id is that of a device.
    """
    same = and_(
        edge_devices.c.organization == enrolments.c.organization,
        edge_devices.c.slug == enrolments.c.slug,
    )
    rows = connection.execute(
        select(
            enrolments,
            edge_devices.c.public_key.label("key_now"),
            edge_devices.c.device_type.label("type_now"),
            edge_devices.c.state.label("state_now"),
        )
        .outerjoin(edge_devices, same)
        .where(
            enrolments.c.organization == organization,
            enrolments.c.created_at > now - PENDING_LIFE_S,
        )
        .order_by(enrolments.c.created_at, enrolments.c.id)
    ).all()
    return [_document(row) for row in rows]


def _document(row: Row[Any]) -> dict[str, Any]:
    change = None
    if row.state_now is not None:
        change = {
            "fingerprint": fingerprint_of(row.key_now),
            "device_type": row.type_now,
            "state": row.state_now,
        }
    return {
        "device_id": row.slug,
        "fingerprint": fingerprint(PublicKey.from_hex(row.public_key)),
        "device_type": row.device_type,
        "labels": row.labels,
        "source": row.source,
        "since": when(row.created_at),
        "until": when(row.created_at + PENDING_LIFE_S),
        "key_change": change,
    }


def count(connection: Connection, organization: str, now: int) -> int:
    """How many wait."""
    counted = select(func.count(enrolments.c.id)).where(
        enrolments.c.organization == organization, enrolments.c.created_at > now - PENDING_LIFE_S
    )
    return connection.execute(counted).scalar_one()


def approve(
    connection: Connection,
    organization: str,
    slug: str,
    said: str,
    *,
    git: GitDevice | None,
    now: int,
) -> Admitted:
    """Admit the key of that fingerprint; raises NobodyWaits or StateForbids."""
    known = find_device(connection, organization, slug)
    if git is not None and git.is_revoked:
        raise StateForbids(f"the manifest of {slug} says `state: revoked`: change it in git")
    if known is not None and _is_own(known, said):
        return _let_in_again(connection, organization, known)
    row = _asked(connection, organization, slug, said, now)
    key = PublicKey.from_hex(row.public_key)
    if git is not None and git.public_key not in (None, key):
        raise StateForbids(f"the manifest of {slug} lists another key: change it in git")
    if known is not None and known.is_old:
        raise StateForbids(f"{slug} is an old device with a token; revoke its token first")
    who = Applicant(organization, slug, key, row.device_type, row.labels)
    done: Enrolled = admit(connection, who, known, git, KeyFrom.PERSON, now)
    return Admitted(done.device_seq, done.is_new, done.is_key_changed)


def _is_own(known: KnownDevice, said: str) -> bool:
    return known.key is not None and fingerprint(known.key) == _plain(said)


def _let_in_again(connection: Connection, organization: str, known: KnownDevice) -> Admitted:
    """The key that a person revoked is good again."""
    if known.state is DeviceState.DUPLICATE:
        raise StateForbids(
            f"two machines speak with the key of {known.slug}: enrol the one that is to stay with"
            " a new key (`towline-agent enroll JOIN` in an empty --root), and approve that"
        )
    if known.state is not DeviceState.REVOKED or known.is_revoked_in_git:
        raise StateForbids(f"{known.slug} is {known.state} with this key already")
    device_keys.let_in_again(connection, organization, known.seq)
    return Admitted(known.seq, is_new=False, is_key_changed=False)


def deny(connection: Connection, organization: str, slug: str, said: str, now: int) -> None:
    """Drop what waits under that id and fingerprint; raises NobodyWaits."""
    row = _asked(connection, organization, slug, said, now)
    connection.execute(
        delete(enrolments).where(
            enrolments.c.organization == organization, enrolments.c.id == row.id
        )
    )


def revoke(connection: Connection, organization: str, slug: str, now: int) -> int:
    """Shut a device out; returns its number. Raises StateForbids where it is out already."""
    known = find_device(connection, organization, slug)
    if known is None or known.state in (DeviceState.REVOKED, DeviceState.DELETED):
        raise StateForbids(f"{slug} is {known.state if known else 'no device'} already")
    device_keys.revoke(connection, organization, known.seq, now)
    return known.seq


def _asked(connection: Connection, organization: str, slug: str, said: str, now: int) -> Row[Any]:
    rows = _rows(connection, organization, slug, now)
    found = [row for row in rows if _fingerprint(row) == _plain(said)]
    if len(found) == 1:
        return found[0]
    if not rows:
        raise NobodyWaits(f"nothing waits for an approval under the id {slug}")
    prints = ", ".join(_fingerprint(row) for row in rows)
    raise NobodyWaits(f"no key of that fingerprint waits under the id {slug}; there is {prints}")


def _rows(connection: Connection, organization: str, slug: str, now: int) -> Sequence[Row[Any]]:
    return connection.execute(
        select(enrolments).where(
            enrolments.c.organization == organization,
            enrolments.c.slug == slug,
            enrolments.c.created_at > now - PENDING_LIFE_S,
        )
    ).all()


def _fingerprint(row: Row[Any]) -> str:
    return fingerprint(PublicKey.from_hex(row.public_key))


def _plain(said: str) -> str:
    return said.strip().lower()
