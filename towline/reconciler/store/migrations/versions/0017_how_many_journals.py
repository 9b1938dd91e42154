"""How many journals a device has begun, so that what it was told of a former one is known as old."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.add_column("device_state", sa.Column("journals", number, nullable=False, server_default="0"))


def downgrade() -> None:
    raise NotImplementedError("restore the copy that was kept before the migration")
