"""What was answered under an Idempotency-Key, for a day, so that a repeated call does nothing."""

from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select

from towline.reconciler.store.tables import answers

LIFE_S = 86400


def find(connection: Connection, organization: str, key: str, now: int) -> Row[Any] | None:
    """The answer given under the key, with the digest of what was asked."""
    return connection.execute(
        select(answers).where(
            answers.c.organization == organization,
            answers.c.key == key,
            answers.c.created_at > now - LIFE_S,
        )
    ).first()


def keep(
    connection: Connection,
    organization: str,
    key: str,
    digest: str,
    body: dict[str, Any],
    now: int,
) -> None:
    """Keep an answer; old ones of the organization go."""
    is_old = answers.c.created_at <= now - LIFE_S
    connection.execute(delete(answers).where(answers.c.organization == organization, is_old))
    values = {"organization": organization, "key": key, "digest": digest, "body": body}
    connection.execute(insert(answers), values | {"created_at": now})
