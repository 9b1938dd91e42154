"""Who runs another package than the one that is wanted: an index, for drift of large fleets."""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(
        op.f("ix_device_components_component_sha256"),
        "device_components",
        ["component", "sha256"],
    )


def downgrade() -> None:
    raise NotImplementedError("restore the copy that was kept before the migration")
