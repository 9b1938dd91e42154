"""Up to which device a large last batch is filled, which is done in parts."""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.add_column("batches", sa.Column("filled_to", number))


def downgrade() -> None:
    raise NotImplementedError("restore the copy that was kept before the migration")
