"""Join tokens: what brings devices in without a person, for an hour and so many times.

Of a token only the SHA-256 is kept. One is used up in one SQL statement, so that no two devices
share its last use.
"""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlalchemy import Connection, and_, insert, select, update

from towline.reconciler.store.tables import join_tokens
from towline.schemas.enrolment import secret_digest
from towline.schemas.problems import Refused

JOIN_TOKEN_LIFE_S = 3600


@dataclass(frozen=True, slots=True)
class JoinTerms:
    """What a join token is good for."""

    labels: Mapping[str, str] = field(default_factory=dict)
    """What the device gets."""
    max_uses: int = 1
    to_pending: bool = False
    """Who joins by it waits for a person all the same."""
    life_s: int = JOIN_TOKEN_LIFE_S


@dataclass(frozen=True, slots=True)
class Joined:
    """One use of a token, taken."""

    labels: Mapping[str, str]
    to_pending: bool


def create(
    connection: Connection, organization: str, terms: JoinTerms, *, author: str, now: int
) -> str:
    """A new join token; only its digest is kept."""
    token = secrets.token_urlsafe(32)
    connection.execute(
        insert(join_tokens).values(
            organization=organization,
            digest=secret_digest(token),
            labels=dict(terms.labels),
            max_uses=terms.max_uses,
            uses_left=terms.max_uses,
            to_pending=terms.to_pending,
            author=author,
            created_at=now,
            expires_at=now + terms.life_s,
        )
    )
    return token


def use(
    connection: Connection,
    organization: str,
    token: str,
    now: int,
    *,
    waits_with: Mapping[str, str] | None,
) -> Joined:
    """Take one use of the token; who waits already with its labels takes no second one.

    Raises Refused `join-token` when it is used or expired, and `unknown-join-token` when the
    organization has none such, whoever else may.
    """
    is_it = and_(
        join_tokens.c.organization == organization, join_tokens.c.digest == secret_digest(token)
    )
    found = connection.execute(select(join_tokens).where(is_it)).first()
    if found is None:
        raise Refused("unknown-join-token", "no such token here; ask for a new join line")
    joined = Joined(dict(found.labels), found.to_pending)
    if found.to_pending and waits_with == joined.labels:
        return joined
    taken = connection.execute(
        update(join_tokens)
        .where(is_it, join_tokens.c.uses_left > 0, join_tokens.c.expires_at > now)
        .values(uses_left=join_tokens.c.uses_left - 1)
    )
    if not taken.rowcount:
        raise Refused("join-token", "used or expired; ask for a new join line")
    return joined
