"""What tells a store that was put back: how many journals each device began, and when it was seen.

What a device was told of a former journal is known as old by their number.
"""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.add_column("device_state", sa.Column("journals", number, nullable=False, server_default="0"))
    op.add_column("repositories", sa.Column("restored_at", number))


def downgrade() -> None:
    raise NotImplementedError("restore the copy that was kept before the migration")
