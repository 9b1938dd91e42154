"""The nonces of session requests, which every process must know."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    digest = sa.String(64).with_variant(sa.String(64, collation="C"), "postgresql")
    op.create_table(
        "session_nonces",
        sa.Column("device_seq", number, nullable=False),
        sa.Column("nonce", digest, nullable=False),
        sa.Column("expires_at", number, nullable=False),
        sa.ForeignKeyConstraint(
            ["device_seq"],
            ["edge_devices.seq"],
            name="fk_session_nonces_device_seq_edge_devices",
        ),
        sa.PrimaryKeyConstraint("device_seq", "nonce", name="pk_session_nonces"),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    raise NotImplementedError("restore the copy that was kept before the migration")
