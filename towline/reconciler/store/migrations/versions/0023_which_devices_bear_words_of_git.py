"""Devices that git says nothing of any more are found without a look at all."""

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None

_BEARS = sa.text(
    "state != 'deleted' AND (labels_git != '{}' OR revoked_in_git != (key_from = 'git')"
    " OR state != CASE WHEN (key_from = 'git' OR revoked_at IS NOT NULL) THEN 'revoked'"
    " WHEN (duplicate_at IS NOT NULL) THEN 'duplicate' ELSE 'active' END)"
)


def upgrade() -> None:
    op.create_index(
        "ix_edge_devices_words_of_git",
        "edge_devices",
        ["organization", "seq"],
        sqlite_where=_BEARS,
        postgresql_where=_BEARS,
    )


def downgrade() -> None:
    raise NotImplementedError("restore the copy that was kept before the migration")
