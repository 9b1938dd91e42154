"""What the whole manifest needs: staging, ways back, arms, healing, analyses, freezes, counters."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy import Text
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "freezes",
        sa.Column("organization", sa.String(length=63), nullable=False),
        sa.Column("name", sa.String(length=63), nullable=False),
        sa.Column(
            "content",
            sa.JSON().with_variant(postgresql.JSONB(astext_type=Text()), "postgresql"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("organization", "name", name=op.f("pk_freezes")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "analyses",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("run_seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("batch", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=63), nullable=False),
        sa.Column("asked_at", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("outcome", sa.String(length=50), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["run_seq"], ["runs.seq"], name=op.f("fk_analyses_run_seq_runs")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_analyses")),
    )
    op.create_index(
        op.f("ix_analyses_run_seq_batch_name"),
        "analyses",
        ["run_seq", "batch", "name"],
        unique=False,
    )
    op.add_column(
        "batches", sa.Column("is_alone", sa.Boolean(), server_default="0", nullable=False)
    )
    op.add_column(
        "batches",
        sa.Column(
            "analysis_from", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True
        ),
    )
    op.add_column(
        "device_components", sa.Column("pin_revision", sa.String(length=64), nullable=True)
    )
    op.add_column(
        "device_state",
        sa.Column(
            "seen_before", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True
        ),
    )
    op.drop_index(op.f("ix_edge_devices_label_set_id"), table_name="edge_devices")
    op.create_index(
        op.f("ix_edge_devices_label_set_id_organization_state"),
        "edge_devices",
        ["label_set_id", "organization", "state"],
        unique=False,
    )
    op.add_column(
        "runs", sa.Column("goes_back", sa.String(length=50), server_default="", nullable=False)
    )
    op.add_column(
        "runs", sa.Column("through_windows", sa.Boolean(), server_default="0", nullable=False)
    )
    op.add_column(
        "runs",
        sa.Column(
            "progress_from", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True
        ),
    )
    op.add_column(
        "runs",
        sa.Column("swept_at", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
    )
    op.add_column("runs", sa.Column("checked_commit", sa.String(length=64), nullable=True))
    op.add_column("targets", sa.Column("arm", sa.String(length=63), nullable=True))
    op.add_column("targets", sa.Column("sha256", sa.String(length=64), nullable=True))
    op.add_column(
        "targets", sa.Column("goes_back", sa.Boolean(), server_default="0", nullable=False)
    )
    op.add_column("targets", sa.Column("heals", sa.Integer(), server_default="0", nullable=False))
    op.add_column(
        "targets",
        sa.Column("healed_at", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
    )
    op.add_column(
        "targets",
        sa.Column(
            "prepared_at", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True
        ),
    )
    op.add_column(
        "targets",
        sa.Column("staged_at", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
    )
    op.add_column(
        "targets", sa.Column("waits", sa.String(length=50), server_default="", nullable=False)
    )
    op.add_column(
        "targets",
        sa.Column(
            "waits_since", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True
        ),
    )
    op.drop_index(op.f("ix_targets_run_seq_status"), table_name="targets")
    op.create_index(
        "ix_targets_away",
        "targets",
        ["device_seq"],
        unique=False,
        sqlite_where=sa.text(
            "granted_at IS NOT NULL AND (status IN ('pending', 'downloading', 'installing', 'verifying') OR status = 'completed' AND verified_at IS NULL)"
        ),
        postgresql_where=sa.text(
            "granted_at IS NOT NULL AND (status IN ('pending', 'downloading', 'installing', 'verifying') OR status = 'completed' AND verified_at IS NULL)"
        ),
    )
    op.create_index(
        "ix_targets_deadline",
        "targets",
        ["deadline"],
        unique=False,
        sqlite_where=sa.text("deadline IS NOT NULL"),
        postgresql_where=sa.text("deadline IS NOT NULL"),
    )
    op.create_index(
        op.f("ix_targets_run_seq_status_batch_position"),
        "targets",
        ["run_seq", "status", "batch", "position"],
        unique=False,
    )
    _count_anew()


def _count_anew() -> None:
    """Counters by all that a decision asks, made from the targets."""
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.drop_table("deployment_counts")
    op.create_table(
        "deployment_counts",
        sa.Column("run_seq", number, nullable=False),
        sa.Column("batch", sa.Integer(), nullable=False),
        sa.Column("arm", sa.String(length=63), nullable=False),
        sa.Column("status", sa.String(length=50), nullable=False),
        sa.Column("reason", sa.String(length=50), nullable=False),
        sa.Column("is_granted", sa.Boolean(), nullable=False),
        sa.Column("is_verified", sa.Boolean(), nullable=False),
        sa.Column("is_set_aside", sa.Boolean(), nullable=False),
        sa.Column("n", number, nullable=False),
        sa.ForeignKeyConstraint(
            ["run_seq"], ["runs.seq"], name=op.f("fk_deployment_counts_run_seq_runs")
        ),
        sa.PrimaryKeyConstraint(
            "run_seq",
            "batch",
            "arm",
            "status",
            "reason",
            "is_granted",
            "is_verified",
            "is_set_aside",
            name=op.f("pk_deployment_counts"),
        ),
        sqlite_with_rowid=False,
    )
    op.execute(
        "INSERT INTO deployment_counts (run_seq, batch, arm, status, reason, is_granted,"
        " is_verified, is_set_aside, n) SELECT run_seq, batch, coalesce(arm, ''), status, reason,"
        " granted_at IS NOT NULL, verified_at IS NOT NULL, is_set_aside, count(*) FROM targets"
        " GROUP BY 1, 2, 3, 4, 5, 6, 7, 8"
    )
