"""The audit of what people do, which nothing may change, and who pinned a device."""

import sqlalchemy as sa
from alembic import op

from towline.reconciler.store import audit_triggers

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    # The first schema had one of another shape, into which nothing was ever written.
    op.drop_table("audit")
    op.create_table(
        "audit",
        sa.Column("id", number, nullable=False),
        sa.Column("at", number, nullable=False),
        sa.Column("organization", sa.String(length=63), nullable=False),
        sa.Column("person", sa.String(length=255), nullable=False),
        sa.Column("token_id", sa.String(length=16), nullable=False),
        sa.Column("role", sa.String(length=50), nullable=False),
        sa.Column("action", sa.String(length=50), nullable=False),
        sa.Column("deployment", sa.String(length=63), nullable=True),
        sa.Column("device", sa.String(length=63), nullable=True),
        sa.Column("object", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("result", sa.String(length=50), nullable=False),
        sa.Column("request", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit")),
    )
    op.create_index(op.f("ix_audit_organization_id"), "audit", ["organization", "id"])
    op.create_index(
        op.f("ix_audit_organization_deployment_id"), "audit", ["organization", "deployment", "id"]
    )
    op.add_column("device_components", sa.Column("pinned_by", sa.String(255), nullable=True))
    postgres = op.get_bind().dialect.name == "postgresql"
    for statement in audit_triggers.POSTGRES if postgres else audit_triggers.SQLITE:
        op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("restore the copy that was kept before the migration")
