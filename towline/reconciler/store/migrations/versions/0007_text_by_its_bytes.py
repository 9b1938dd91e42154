"""Names, words and versions in the order of their bytes on Postgres, as SQLite and Python have it.

The order of a rollout by name, and where a list of devices goes on, must not hang on the language
of the database.
"""

from alembic import op

from towline.reconciler.store import views

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_COLUMNS = (
    ("admin_tokens", 50, "role"),
    ("admin_tokens", 63, "organization"),
    ("admin_tokens", 64, "digest"),
    ("analyses", 50, "outcome"),
    ("analyses", 63, "name"),
    ("answers", 63, "organization"),
    ("answers", 64, "digest"),
    ("audit", 50, "role action result"),
    ("audit", 63, "organization deployment device"),
    ("batches", 50, "state"),
    ("change_outbox", 50, "kind"),
    ("component_versions", 63, "component"),
    ("component_versions", 100, "version"),
    ("component_versions", 400, "version_key"),
    ("deployment_counts", 50, "status reason"),
    ("deployment_counts", 63, "arm"),
    ("device_components", 63, "component"),
    ("device_components", 64, "sha256 pin_sha256 pin_revision known_bad"),
    ("device_components", 100, "pin_version"),
    ("device_groups", 63, "organization name"),
    ("device_state", 50, "rejected"),
    ("device_tokens", 64, "digest"),
    ("dirty_deployments", 63, "organization deployment"),
    ("edge_devices", 50, "state"),
    ("edge_devices", 63, "slug organization device_type"),
    ("edge_devices", 64, "public_key"),
    ("enrolments", 63, "organization slug device_type"),
    ("enrolments", 64, "public_key"),
    ("events", 50, "kind reason"),
    ("events", 63, "organization deployment device"),
    ("events", 64, "commit"),
    ("filters", 64, "digest"),
    ("freezes", 63, "organization name"),
    ("holds", 50, "reason"),
    ("holds", 63, "organization deployment"),
    ("join_tokens", 63, "organization"),
    ("join_tokens", 64, "digest"),
    ("label_sets", 64, "digest"),
    ("manifests", 63, "organization name"),
    ("manifests", 64, "commit"),
    ("merge_requests", 50, "status"),
    ("merge_requests", 63, "organization name"),
    ("merge_requests", 64, "revision"),
    ("old_device_leaves", 63, "organization"),
    ("organizations", 63, "name"),
    ("overrides", 50, "key"),
    ("overrides", 63, "organization deployment"),
    ("plans", 63, "organization"),
    ("plans", 64, "revision"),
    ("repositories", 63, "organization"),
    ("repositories", 64, "applied_commit held_commit accepted_commit"),
    ("revisions", 63, "organization deployment"),
    ("revisions", 64, "id commit"),
    ("runs", 50, "rollout_strategy status reason goes_back"),
    ("runs", 63, "organization deployment component"),
    ("runs", 64, "revision source_commit checked_commit"),
    ("runs", 100, "target_version"),
    ("sessions", 64, "digest"),
    ("targets", 50, "status reason waits"),
    ("targets", 63, "component arm"),
    ("targets", 64, "sha256 from_sha256"),
    ("targets", 100, "from_version"),
)
"""Table, length and columns."""


def upgrade() -> None:
    if op.get_bind().dialect.name != "postgresql":
        return
    for view in ("ota_deployments", "ota_deployment_devices"):
        op.execute(f"DROP VIEW {view}")
    for table, length, names in _COLUMNS:
        changes = ", ".join(
            f'ALTER COLUMN "{name}" TYPE varchar({length}) COLLATE "C"' for name in names.split()
        )
        op.execute(f"ALTER TABLE {table} {changes}")
    for statement in views.POSTGRES:
        op.execute(statement)


def downgrade() -> None:
    raise NotImplementedError("restore the copy that was kept before the migration")
