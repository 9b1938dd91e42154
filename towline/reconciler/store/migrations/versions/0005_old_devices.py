"""Old devices: their tokens, and which organizations let them in."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "device_tokens",
        sa.Column("device_seq", number, nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("author", sa.String(length=255), nullable=False),
        sa.Column("created_at", number, nullable=False),
        sa.ForeignKeyConstraint(
            ["device_seq"],
            ["edge_devices.seq"],
            name=op.f("fk_device_tokens_device_seq_edge_devices"),
        ),
        sa.PrimaryKeyConstraint("device_seq", name=op.f("pk_device_tokens")),
        sa.UniqueConstraint("digest", name=op.f("uq_device_tokens_digest")),
    )
    op.create_table(
        "old_device_leaves",
        sa.Column("organization", sa.String(length=63), nullable=False),
        sa.Column("author", sa.String(length=255), nullable=False),
        sa.Column("since", number, nullable=False),
        sa.PrimaryKeyConstraint("organization", name=op.f("pk_old_device_leaves")),
    )


def downgrade() -> None:
    raise NotImplementedError("restore the copy that was kept before the migration")
