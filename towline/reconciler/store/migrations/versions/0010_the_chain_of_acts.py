"""The acts of each organization as a chain, in which each has the hash of the one before it."""

import hashlib
import json
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from alembic import op

from towline.reconciler.store import audit_triggers

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_DROP_SQLITE = (
    "DROP TRIGGER audit_keeps_on_update",
    "DROP TRIGGER audit_keeps_on_delete",
    "DROP TRIGGER audit_keeps_on_insert",
)
_DROP_POSTGRES = ("DROP TRIGGER audit_keeps ON audit", "DROP FUNCTION audit_keeps()")


def upgrade() -> None:
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    postgres = op.get_bind().dialect.name == "postgresql"
    for statement in _DROP_POSTGRES if postgres else _DROP_SQLITE:
        op.execute(statement)
    for column in (
        sa.Column("number", number, server_default="0", nullable=False),
        sa.Column("previous", sa.String(64), server_default="", nullable=False),
        sa.Column("hash", sa.String(64), server_default="", nullable=False),
    ):
        op.add_column("audit", column)
    _link(op.get_bind())
    for statement in audit_triggers.POSTGRES if postgres else audit_triggers.SQLITE:
        op.execute(statement)


def _link(connection: sa.Connection) -> None:
    """Give the acts that are there their places."""
    table = sa.Table("audit", sa.MetaData(), autoload_with=connection)
    ends: dict[str, tuple[int, str]] = {}
    for row in connection.execute(sa.select(table).order_by(table.c.id)).mappings().all():
        last, previous = ends.get(row["organization"], (0, "0" * 64))
        told = _told(row, last + 1, previous)
        text = json.dumps(told, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        found = hashlib.sha256(text.encode()).hexdigest()
        connection.execute(
            sa.update(table)
            .where(table.c.id == row["id"])
            .values(number=last + 1, previous=previous, hash=found)
        )
        ends[row["organization"]] = (last + 1, found)


def _told(row: Any, number: int, previous: str) -> dict[str, Any]:
    """As acts were hashed when this was written."""
    kept = ("person", "role", "action", "deployment", "device", "object", "result", "request")
    return {
        **{name: row[name] for name in (*kept, "organization")},
        "token": row["token_id"],
        "at": datetime.fromtimestamp(row["at"], UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "detail": json.loads(row["detail"]),
        "number": number,
        "previous": previous,
    }


def downgrade() -> None:
    raise NotImplementedError("restore the copy that was kept before the migration")
