"""That a report names the same time zone again is seen where the report is kept."""

from alembic import op
from sqlalchemy import Column, String

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("device_state", Column("told_zone", String(64)))
    op.execute(
        "UPDATE device_state SET told_zone = edge_devices.time_zone FROM edge_devices"
        " WHERE edge_devices.seq = device_state.device_seq AND edge_devices.time_zone IS NOT NULL"
    )


def downgrade() -> None:
    raise NotImplementedError("restore the copy that was kept before the migration")
