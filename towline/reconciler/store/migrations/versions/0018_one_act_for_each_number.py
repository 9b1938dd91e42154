"""No two acts of an organization with the same number: the chain of acts has no branches."""

import sqlalchemy as sa
from alembic import op

from towline.reconciler.store import audit_triggers

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

_TWICE = sa.text(
    "SELECT organization, number, count(*) AS acts, min(id) AS first, max(id) AS last FROM audit"
    " GROUP BY organization, number HAVING count(*) > 1 ORDER BY min(id) LIMIT 1"
)


class ActsWithOneNumber(Exception):
    """Nobody but a person can say which of them is no act."""


def upgrade() -> None:
    if (found := op.get_bind().execute(_TWICE).first()) is not None:
        raise ActsWithOneNumber(
            f"{found.acts} acts of {found.organization} have the number {found.number} (the first"
            f" has the id {found.first} in the table audit, the last {found.last}), which Towline"
            " never writes: `towline audit verify`, of the version before, says where the chain"
            " breaks. Keep a copy of the one that is not in it, and remove it with SQL"
        )
    op.create_index(
        "ix_audit_organization_number", "audit", ["organization", "number"], unique=True
    )
    if op.get_bind().dialect.name == "sqlite":
        for statement in audit_triggers.SQLITE_BY_NUMBER:
            op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("restore the copy that was kept before the migration")
