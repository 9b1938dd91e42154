"""Tokens of old devices, which have no key: one each, of which only the SHA-256 is kept.

A token is good while its organization lets old devices in and the device is not revoked. A device
with a key of its own never gets one: it would verify less than it can.
"""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, Select, delete, exists, func, insert, select, update

from towline.reconciler.store import dirt
from towline.reconciler.store.access import find_device
from towline.reconciler.store.labels import intern_labels, merged
from towline.reconciler.store.tables import (
    device_state,
    device_tokens,
    edge_devices,
    old_device_leaves,
)
from towline.reconciler.store.upserts import insert_ignoring
from towline.schemas.enrolment import secret_digest
from towline.schemas.identifiers import device_uuid

TOKEN_BYTES = 32


class NoToken(Exception):
    """What was asked is not to be had; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class NewDevice:
    """What the inventory needs to know of a device that cannot enrol by itself."""

    slug: str
    device_type: str
    labels: Mapping[str, str]
    """Those of people."""
    labels_git: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class OldDevice:
    """Whom a token speaks for."""

    seq: int
    slug: str
    uuid: str
    organization: str
    is_let_in: bool
    """Its organization lets old devices in."""
    was_seen: bool
    """It asked before."""

    def is_called(self, text: str) -> bool:
        """True for its id and its UUID."""
        return text in (self.slug, self.uuid)


def find(connection: Connection, token: str) -> OldDevice | None:
    """Whom a token speaks for; None when it is unknown or its device revoked."""
    is_let_in = exists(
        select(old_device_leaves.c.organization).where(
            old_device_leaves.c.organization == edge_devices.c.organization
        )
    )
    row = connection.execute(
        select(edge_devices, device_state.c.last_seen, is_let_in.label("is_let_in"))
        .join(device_tokens, device_tokens.c.device_seq == edge_devices.c.seq)
        .join(device_state, device_state.c.device_seq == edge_devices.c.seq)
        .where(device_tokens.c.digest == secret_digest(token), edge_devices.c.state == "active")
    ).first()
    if row is None:
        return None
    return OldDevice(
        seq=row.seq,
        slug=row.slug,
        uuid=str(row.id),
        organization=row.organization,
        is_let_in=bool(row.is_let_in),
        was_seen=row.last_seen is not None,
    )


def add_device(connection: Connection, organization: str, device: NewDevice, now: int) -> None:
    """Put a device without a key into the inventory; raises NoToken where its id is not free."""
    if find_device(connection, organization, device.slug) is not None:
        raise NoToken(f"a device {device.slug} was deleted; ids are not used twice: take another")
    labels, git = dict(device.labels), dict(device.labels_git)
    seq = connection.execute(
        insert(edge_devices)
        .values(
            id=device_uuid(organization, device.slug),
            slug=device.slug,
            organization=organization,
            device_type=device.device_type,
            label_set_id=intern_labels(connection, merged(git, labels, {})),
            labels_git=git,
            labels_people=labels,
            labels_join={},
            state="active",
            created_at=now,
        )
        .returning(edge_devices.c.seq)
    ).scalar_one()
    connection.execute(insert(device_state).values(device_seq=seq, facts={}))
    dirt.mark_all(connection, organization)


def create(connection: Connection, organization: str, slug: str, author: str, now: int) -> str:
    """The device's first token, to be shown once; raises NoToken where it has one or a key."""
    row = connection.execute(
        select(edge_devices.c.seq, edge_devices.c.public_key).where(
            edge_devices.c.organization == organization, edge_devices.c.slug == slug
        )
    ).one()
    if row.public_key is not None:
        raise NoToken(
            f"{slug} has a key of its own and gets signed documents; a token is for devices that"
            " cannot verify them"
        )
    token = secrets.token_hex(TOKEN_BYTES)
    adding = insert_ignoring(connection, device_tokens).values(
        device_seq=row.seq, digest=secret_digest(token), author=author, created_at=now
    )
    if connection.execute(adding.returning(device_tokens.c.device_seq)).first() is None:
        raise NoToken(f"{slug} has a token already; `towline device token rotate {slug}`")
    return token


def rotate(connection: Connection, organization: str, slug: str, author: str, now: int) -> str:
    """A new token, to be shown once; the former one ends now. Raises NoToken without one."""
    token = secrets.token_hex(TOKEN_BYTES)
    changed = connection.execute(
        update(device_tokens)
        .where(device_tokens.c.device_seq.in_(_seq_of(organization, slug)))
        .values(digest=secret_digest(token), author=author, created_at=now)
    )
    if not changed.rowcount:
        raise NoToken(f"{slug} has no token; `towline device token create {slug}` makes one")
    return token


def revoke(connection: Connection, organization: str, slug: str) -> None:
    """End the device's token; raises NoToken where there is none."""
    ended = connection.execute(
        delete(device_tokens).where(device_tokens.c.device_seq.in_(_seq_of(organization, slug)))
    )
    if not ended.rowcount:
        raise NoToken(f"{slug} has no token")


def _seq_of(organization: str, slug: str) -> Select[tuple[int]]:
    return select(edge_devices.c.seq).where(
        edge_devices.c.organization == organization, edge_devices.c.slug == slug
    )


def let_in(connection: Connection, organization: str, author: str, now: int) -> None:
    """From now on tokens of old devices are good in the organization."""
    connection.execute(
        insert_ignoring(connection, old_device_leaves).values(
            organization=organization, author=author, since=now
        )
    )


def shut_out(connection: Connection, organization: str) -> None:
    """From now on no token of an old device is good in the organization; they are kept."""
    connection.execute(
        delete(old_device_leaves).where(old_device_leaves.c.organization == organization)
    )


def are_let_in(connection: Connection, organization: str) -> bool:
    """True while the organization lets old devices in."""
    found = connection.execute(
        select(old_device_leaves.c.organization).where(
            old_device_leaves.c.organization == organization
        )
    )
    return found.first() is not None


def count(connection: Connection, organization: str) -> int:
    """How many devices of the organization have a token."""
    return int(
        connection.execute(
            select(func.count())
            .select_from(device_tokens)
            .join(edge_devices, edge_devices.c.seq == device_tokens.c.device_seq)
            .where(edge_devices.c.organization == organization)
        ).scalar_one()
    )
