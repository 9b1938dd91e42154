"""Who admitted a device's key, what keeps a device out, and which boots its sessions came from."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    document = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
    word = sa.String(50).with_variant(sa.String(50, collation="C"), "postgresql")
    op.add_column("edge_devices", sa.Column("key_from", word, nullable=False, server_default=""))
    op.add_column(
        "edge_devices",
        sa.Column("revoked_in_git", sa.Boolean(), nullable=False, server_default="0"),
    )
    for name in ("revoked_at", "duplicate_at", "deleted_at"):
        op.add_column("edge_devices", sa.Column(name, number))
    # Until now nobody but git could revoke.
    op.execute("UPDATE edge_devices SET revoked_in_git = (state = 'revoked')")
    op.add_column(
        "join_tokens", sa.Column("to_pending", sa.Boolean(), nullable=False, server_default="0")
    )
    op.add_column("enrolments", sa.Column("labels", document, nullable=False, server_default="{}"))
    op.add_column("sessions", sa.Column("boots", document, nullable=False, server_default="[]"))
    op.add_column(
        "sessions", sa.Column("boot_returns", sa.Integer(), nullable=False, server_default="0")
    )
    is_ended = sa.text("expires_at = 0")
    op.create_index(
        "ix_sessions_ended",
        "sessions",
        ["device_seq"],
        sqlite_where=is_ended,
        postgresql_where=is_ended,
    )


def downgrade() -> None:
    raise NotImplementedError("restore the copy that was kept before the migration")
