"""Devices of a type that few have are found without a look at all."""

from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(
        "ix_edge_devices_device_type_organization",
        "edge_devices",
        ["device_type", "organization"],
    )


def downgrade() -> None:
    raise NotImplementedError("restore the copy that was kept before the migration")
