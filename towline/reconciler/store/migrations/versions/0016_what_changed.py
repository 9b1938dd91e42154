"""What a pass needs to cost what changes: targets found by their run, and devices that changed."""

import sqlalchemy as sa
from alembic import op

from towline.reconciler.store import change_triggers

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

_IS_AWAY = sa.text(
    "granted_at IS NOT NULL AND (status IN ('pending', 'downloading', 'installing', 'verifying')"
    " OR status = 'completed' AND verified_at IS NULL)"
)
_IS_READY = sa.text(
    "status = 'pending' AND granted_at IS NULL AND (staged_at IS NOT NULL OR goes_back IS true)"
)
_RUNS = sa.text("deadline IS NOT NULL")


def upgrade() -> None:
    for name, columns, where in (
        ("ix_targets_away", ["run_seq", "device_seq"], _IS_AWAY),
        ("ix_targets_deadline", ["run_seq", "deadline"], _RUNS),
        ("ix_targets_ready", ["run_seq", "batch", "position"], _IS_READY),
    ):
        op.execute(f"DROP INDEX IF EXISTS {name}")
        op.create_index(name, "targets", columns, sqlite_where=where, postgresql_where=where)
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    word = sa.String(100).with_variant(sa.String(100, collation="C"), "postgresql")
    op.add_column("runs", sa.Column("settled_change", number))
    op.add_column("runs", sa.Column("settled_for", word))
    # Nobody ever wrote to it; a column that must not be null is not added to a table.
    op.drop_table("dirty_devices")
    op.create_table(
        "dirty_devices",
        sa.Column("device_seq", number, nullable=False),
        sa.Column("change", number, nullable=False),
        sa.ForeignKeyConstraint(
            ["device_seq"],
            ["edge_devices.seq"],
            name="fk_dirty_devices_device_seq_edge_devices",
        ),
        sa.PrimaryKeyConstraint("device_seq", name="pk_dirty_devices"),
    )
    op.create_index("ix_dirty_devices_change", "dirty_devices", ["change"], unique=True)
    is_postgres = op.get_bind().dialect.name == "postgresql"
    for statement in change_triggers.POSTGRES if is_postgres else change_triggers.SQLITE:
        op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("restore the copy that was kept before the migration")
