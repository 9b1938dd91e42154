"""A session that is ended is no row any more: nothing has to look for those that are over."""

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("DELETE FROM sessions WHERE expires_at = 0")
    op.drop_index("ix_sessions_ended", "sessions")


def downgrade() -> None:
    raise NotImplementedError("restore the copy that was kept before the migration")
