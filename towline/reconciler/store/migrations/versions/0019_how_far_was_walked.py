"""How far a run's order was walked, since when who waits was heard of, and who goes back."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    word = sa.String(100).with_variant(sa.String(100, collation="C"), "postgresql")
    op.add_column("runs", sa.Column("heard_since", number))
    op.add_column("runs", sa.Column("walked_change", number))
    op.add_column("runs", sa.Column("walked_for", word))
    op.create_index("ix_runs_component", "runs", ["component"])
    where = sa.text("goes_back IS true")
    op.create_index(
        "ix_targets_back",
        "targets",
        ["run_seq", "device_seq"],
        sqlite_where=where,
        postgresql_where=where,
    )
    op.create_table(
        "passed_over",
        sa.Column("run_seq", number, nullable=False),
        sa.Column("device_seq", number, nullable=False),
        sa.ForeignKeyConstraint(["run_seq"], ["runs.seq"], name="fk_passed_over_run_seq_runs"),
        sa.ForeignKeyConstraint(
            ["device_seq"], ["edge_devices.seq"], name="fk_passed_over_device_seq_edge_devices"
        ),
        sa.PrimaryKeyConstraint("run_seq", "device_seq", name="pk_passed_over"),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    raise NotImplementedError("restore the copy that was kept before the migration")
