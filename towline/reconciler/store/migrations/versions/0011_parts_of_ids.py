"""Let parts of ids be found without a look at all devices, where the Postgres server can."""

from alembic import op
from sqlalchemy.exc import DBAPIError

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    if op.get_bind().dialect.name != "postgresql":
        return
    op.execute("SAVEPOINT without_parts")
    try:
        # Whoever may make tables may make it, since it is a trusted one of the server's package.
        op.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")
        op.execute(
            "CREATE INDEX ix_edge_devices_slug_parts ON edge_devices USING gin (slug gin_trgm_ops)"
        )
    except DBAPIError:
        op.execute("ROLLBACK TO SAVEPOINT without_parts")


def downgrade() -> None:
    raise NotImplementedError("restore the copy that was kept before the migration")
