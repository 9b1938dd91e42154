"""When git ceased to want what had ended before, so that the same may come again as another run."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.add_column("runs", sa.Column("let_go_at", number))
    op.execute(
        """UPDATE runs SET let_go_at = updated_at
WHERE status IN ('completed', 'failed', 'cancelled') AND reason <> 'ManifestRemoved'
  AND NOT EXISTS (SELECT 1 FROM manifests m
                  WHERE m.organization = runs.organization AND m.name = runs.deployment)"""
    )


def downgrade() -> None:
    raise NotImplementedError("restore the copy that was kept before the migration")
