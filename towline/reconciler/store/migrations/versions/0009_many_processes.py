"""Several processes on one store: who leads and since when, and what each tells the others."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    for column in (
        sa.Column("holder", sa.Text, server_default="", nullable=False),
        sa.Column("since", _NUMBER, server_default="0", nullable=False),
    ):
        op.add_column("leader_epoch", column)
    for column in (
        sa.Column("at", _NUMBER, server_default="0", nullable=False),
        sa.Column("sender", sa.String(16), server_default="", nullable=False),
    ):
        op.add_column("change_outbox", column)


def downgrade() -> None:
    raise NotImplementedError("restore the copy that was kept before the migration")
