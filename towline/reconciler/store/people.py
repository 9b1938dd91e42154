"""People: their tokens `tow_<id>_<secret>`, each of one organization and one role.

Of the secret, 256 random bits, only the SHA-256 is kept. A token is live until it expires or is
revoked; an organization always keeps a live one of an admin, unless its last one expires.
"""

import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, func, insert, or_, select, update

from towline.reconciler.store.reading_batches import when
from towline.reconciler.store.tables import admin_tokens
from towline.schemas.enrolment import secret_digest

USE_NOTED_EVERY_S = 60
"""`last_used_at` is true to this many seconds, so that reads seldom write."""


class UnknownToken(Exception):
    """The organization has no token of that id."""


class NotRevocable(Exception):
    """The token cannot be revoked; the text says why."""


class Role(StrEnum):
    """What a person may do; each role may do all that the ones before it may."""

    VIEWER = "viewer"
    PLANNER = "planner"
    OPERATOR = "operator"
    ADMIN = "admin"

    def may_act_as(self, needed: "Role") -> bool:
        """True when this role is at least the one that is needed."""
        ranks = list(Role)
        return ranks.index(self) >= ranks.index(needed)


@dataclass(frozen=True, slots=True)
class Person:
    """Who an admin token speaks for."""

    name: str
    organization: str
    role: Role
    token_id: str
    last_used_at: int | None
    """As it was noted, in seconds since the epoch."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Only devices with all of these are theirs; none: every device."""
    request: str = ""
    """The id of the request in which the person speaks, for the audit."""

    def is_use_due(self, now: int) -> bool:
        """True when this use of the token is to be noted."""
        return self.last_used_at is None or self.last_used_at <= now - USE_NOTED_EVERY_S


def create_admin_token(
    connection: Connection,
    organization: str,
    *,
    name: str,
    role: Role,
    now: int,
    expires_at: int | None = None,
    labels: Mapping[str, str] | None = None,
) -> str:
    """A new token `tow_<id>_<secret>` of a person; only the secret's digest is kept.

    `labels`: only for devices that have them. `now` and `expires_at` are seconds since the epoch;
    None never expires.
    """
    number, secret = secrets.token_hex(6), secrets.token_hex(32)
    connection.execute(
        insert(admin_tokens).values(
            id=number,
            organization=organization,
            name=name,
            role=role.value,
            digest=secret_digest(secret),
            created_at=now,
            expires_at=expires_at,
            labels=dict(labels or {}),
        )
    )
    return f"tow_{number}_{secret}"


def find_person(connection: Connection, token: str, now: int) -> Person | None:
    """Whom a token speaks for; None when it is unknown, expired or revoked."""
    parts = token.split("_")
    if len(parts) != 3 or parts[0] != "tow":
        return None
    row = connection.execute(
        select(admin_tokens).where(admin_tokens.c.id == parts[1], _is_live(now))
    ).first()
    if row is None or not hmac.compare_digest(row.digest, secret_digest(parts[2])):
        return None
    return _person(row)


def find_person_by_id(connection: Connection, token_id: str, now: int) -> Person | None:
    """Whom the token of that id speaks for; None when it is unknown, expired or revoked.

    For who has shown the token before.
    """
    row = connection.execute(
        select(admin_tokens).where(admin_tokens.c.id == token_id, _is_live(now))
    ).first()
    return _person(row) if row is not None else None


def _person(row: Row[Any]) -> Person:
    who = (row.name, row.organization, Role(row.role), row.id)
    return Person(*who, row.last_used_at, row.labels)


def note_use(connection: Connection, token_id: str, now: int) -> None:
    """Keep when a token was used, unless another request of this minute did."""
    used = admin_tokens.c.last_used_at
    connection.execute(
        update(admin_tokens)
        .where(
            admin_tokens.c.id == token_id,
            or_(used.is_(None), used <= now - USE_NOTED_EVERY_S),
        )
        .values(last_used_at=now)
    )


def list_admin_tokens(connection: Connection, organization: str) -> list[dict[str, Any]]:
    """The tokens of an organization as the API shows them, oldest first; never a secret."""
    rows = connection.execute(
        select(admin_tokens)
        .where(admin_tokens.c.organization == organization)
        .order_by(admin_tokens.c.created_at, admin_tokens.c.id)
    )
    return [_document(row) for row in rows]


def revoke_admin_token(
    connection: Connection, organization: str, token_id: str, now: int
) -> dict[str, Any]:
    """End a token for good; returns it as the API shows it.

    Raises UnknownToken, or NotRevocable when it is revoked already or is the last live one of an
    admin.
    """
    mine = and_(admin_tokens.c.id == token_id, admin_tokens.c.organization == organization)
    row = connection.execute(select(admin_tokens).where(mine)).first()
    if row is None:
        raise UnknownToken(token_id)
    if row.revoked_at is not None:
        raise NotRevocable(f"token {token_id} ({row.name}) was revoked at {when(row.revoked_at)}")
    if live_admins(connection, organization, now) == {token_id}:
        raise NotRevocable(
            f"token {token_id} ({row.name}) is the last live admin token of {organization};"
            " create another one first"
        )
    connection.execute(update(admin_tokens).where(mine).values(revoked_at=now))
    return _document(connection.execute(select(admin_tokens).where(mine)).one())


def live_admins(connection: Connection, organization: str, now: int) -> set[str]:
    """The ids of an organization's tokens that are good for everything."""
    rows = connection.execute(
        select(admin_tokens.c.id).where(
            admin_tokens.c.organization == organization,
            admin_tokens.c.role == Role.ADMIN.value,
            _is_live(now),
        )
    )
    return set(rows.scalars())


def _is_live(now: int) -> ColumnElement[bool]:
    return and_(
        admin_tokens.c.revoked_at.is_(None),
        func.coalesce(admin_tokens.c.expires_at, now + 1) > now,
    )


def _document(row: Row[Any]) -> dict[str, Any]:
    return {
        "id": row.id,
        "name": row.name,
        "role": row.role,
        "labels": row.labels,
        "created_at": when(row.created_at),
        "expires_at": when(row.expires_at),
        "last_used_at": when(row.last_used_at),
        "revoked_at": when(row.revoked_at),
    }
