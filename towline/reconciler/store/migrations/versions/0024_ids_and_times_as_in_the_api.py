"""The contract's views tell ids and times on SQLite as the API does: with hyphens, as RFC 3339."""

from alembic import op

from towline.reconciler.store import views

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        return  # whose types say it
    for view in ("ota_deployments", "ota_deployment_devices"):
        op.execute(f"DROP VIEW {view}")
    for statement in views.SQLITE:
        op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("restore the copy that was kept before the migration")
