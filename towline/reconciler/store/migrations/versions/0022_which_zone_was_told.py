"""That a report names the same time zone again is seen where the report is kept.

Whoever named one before is asked once more whether it is another one.
"""

from alembic import op
from sqlalchemy import Column, String

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("device_state", Column("told_zone", String(64)))


def downgrade() -> None:
    raise NotImplementedError("restore the copy that was kept before the migration")
