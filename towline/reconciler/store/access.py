"""Which devices may speak: who they are, and their sessions.

Of a bearer token only the SHA-256 is kept, and a device has one session: the last one that was
opened. A boot id that comes back after another one had replaced it, twice, means that two machines
take the session from each other by turns; the device is held then.
"""

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, bindparam, or_, select

from towline.reconciler.store import device_keys, outbox
from towline.reconciler.store.device_keys import DeviceState
from towline.reconciler.store.events import Event, record
from towline.reconciler.store.tables import device_tokens, edge_devices, sessions
from towline.reconciler.store.upserts import insert_of
from towline.schemas.enrolment import secret_digest
from towline.schemas.identifiers import device_uuid
from towline.schemas.keys import PublicKey
from towline.schemas.problems import Refused

SESSION_LIFE_S = 3600
BOOTS_KEPT = 8
RETURNS_LIMIT = 2
"""So often may a boot come back: a request that was slow on its way may once, a clone does for
ever."""


@dataclass(frozen=True, slots=True)
class KnownDevice:
    """A device as enrolment and sessions need it."""

    seq: int
    slug: str
    key: PublicKey | None
    state: DeviceState
    device_type: str
    is_old: bool
    """It holds a token instead of a key."""
    is_revoked_in_git: bool
    is_purged: bool
    """It has no name but its UUID."""

    def demand_active(self) -> None:
        """Raises Refused `revoked`, `duplicate-identity` or `unknown-device`."""
        match self.state:
            case DeviceState.REVOKED:
                raise Refused("revoked")
            case DeviceState.DUPLICATE:
                words = "two machines speak with this key: enrol the device with a new one"
                raise Refused("duplicate-identity", words)
            case DeviceState.DELETED:
                raise Refused("unknown-device")


_FINDING = (
    select(edge_devices, device_tokens.c.device_seq.label("token_of"))
    .outerjoin(device_tokens, device_tokens.c.device_seq == edge_devices.c.seq)
    .where(
        edge_devices.c.organization == bindparam("organization"),
        or_(edge_devices.c.slug == bindparam("slug"), edge_devices.c.id == bindparam("uuid")),
    )
    .limit(1)
)


def find_device(connection: Connection, organization: str, slug: str) -> KnownDevice | None:
    """The device that has that id, or had it before it was purged: its UUID is made of it."""
    uuid = device_uuid(organization, slug)
    known_by = {"organization": organization, "slug": slug, "uuid": uuid}
    row = connection.execute(_FINDING, known_by).first()
    return _known(row) if row is not None else None


def _known(row: Row[Any]) -> KnownDevice:
    return KnownDevice(
        seq=row.seq,
        slug=row.slug,
        key=PublicKey.from_hex(row.public_key) if row.public_key else None,
        state=DeviceState(row.state),
        device_type=row.device_type,
        is_old=row.token_of is not None,
        is_revoked_in_git=row.revoked_in_git,
        is_purged=row.slug == str(row.id),
    )


def open_session(
    connection: Connection, organization: str, slug: str, key: PublicKey, boot_id: str, now: int
) -> str:
    """A new bearer token; the device's former session ends.

    Raises Refused when the device got another key meanwhile, was shut out, or is held now.
    """
    device = find_device(connection, organization, slug)
    if device is None or device.key != key:
        raise Refused("unknown-device")
    device.demand_active()
    boots, returns = _boots(connection, device.seq, boot_id)
    if returns >= RETURNS_LIMIT:
        device_keys.hold_as_duplicate(connection, organization, device.seq, now)
        message = "two machines speak with its key by turns: enrol it again with a new one"
        event = Event("device.held", device=slug, reason="DuplicateIdentity", message=message)
        record(connection, organization, now, event)
        raise Refused("duplicate-identity", "two machines speak with this key by turns")
    token = secrets.token_urlsafe(32)
    outbox.tell_session(connection, device.seq, secret_digest(token))
    values: dict[str, Any] = {
        "digest": secret_digest(token),
        "opened_at": now,
        "expires_at": now + SESSION_LIFE_S,
        "boots": boots,
        "boot_returns": returns,
    }
    connection.execute(
        insert_of(connection.dialect.name, sessions)
        .values(device_seq=device.seq, **values)
        .on_conflict_do_update(index_elements=["device_seq"], set_=values)
    )
    return token


_BOOTS = select(sessions.c.boots, sessions.c.boot_returns).where(
    sessions.c.device_seq == bindparam("device")
)


def _boots(connection: Connection, device_seq: int, boot_id: str) -> tuple[Sequence[str], int]:
    """The boots of the device's sessions, the one that asks now first, and how many came back."""
    row = connection.execute(_BOOTS, {"device": device_seq}).first()
    known, returns = (list(row.boots), row.boot_returns) if row is not None else ([], 0)
    mine = hashlib.sha256(boot_id.encode()).hexdigest()[:16]
    if known[:1] == [mine]:
        return known, returns
    # Who never came before is no sign of a clone: an agent that starts again is one.
    returns = returns + 1 if mine in known else 0
    others = [each for each in known if each != mine]
    return [mine, *others][:BOOTS_KEPT], returns
