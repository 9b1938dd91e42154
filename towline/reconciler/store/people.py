"""People: their tokens `tow_<id>_<secret>`, each of one organization and one role.

Of the secret, 256 random bits, only the SHA-256 is kept.
"""

import hmac
import secrets
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import Connection, func, insert, select

from towline.reconciler.store.tables import admin_tokens
from towline.schemas.enrolment import secret_digest


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


def create_admin_token(
    connection: Connection, organization: str, *, name: str, role: Role, now: int
) -> str:
    """A new token `tow_<id>_<secret>` of a person; only the secret's digest is kept."""
    number, secret = secrets.token_hex(6), secrets.token_hex(32)
    connection.execute(
        insert(admin_tokens).values(
            id=number,
            organization=organization,
            name=name,
            role=role.value,
            digest=secret_digest(secret),
            created_at=now,
        )
    )
    return f"tow_{number}_{secret}"


def find_person(connection: Connection, token: str, now: int) -> Person | None:
    """Whom a token speaks for; None when it is unknown, expired or revoked."""
    parts = token.split("_")
    if len(parts) != 3 or parts[0] != "tow":
        return None
    row = connection.execute(
        select(admin_tokens).where(
            admin_tokens.c.id == parts[1],
            admin_tokens.c.revoked_at.is_(None),
            func.coalesce(admin_tokens.c.expires_at, now + 1) > now,
        )
    ).first()
    if row is None or not hmac.compare_digest(row.digest, secret_digest(parts[2])):
        return None
    return Person(row.name, row.organization, Role(row.role))
