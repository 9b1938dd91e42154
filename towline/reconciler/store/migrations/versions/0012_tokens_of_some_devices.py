"""Tokens of people that are limited to the devices with some labels."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    document = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
    op.add_column(
        "admin_tokens", sa.Column("labels", document, server_default="{}", nullable=False)
    )


def downgrade() -> None:
    raise NotImplementedError("restore the copy that was kept before the migration")
