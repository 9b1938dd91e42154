"""Every table, once, for SQLite and Postgres.

Keys are whole numbers, times are seconds since the epoch (UTC), status words are those of the
contract, whose two tables are views over `runs` and `targets` (see `views`).
"""

from towline.reconciler.store.columns import metadata
from towline.reconciler.store.tables_fleet import (
    component_versions,
    device_components,
    device_groups,
    device_state,
    edge_devices,
    filter_label_sets,
    filters,
    freezes,
    label_sets,
    organizations,
)
from towline.reconciler.store.tables_rollout import (
    IS_AWAY,
    analyses,
    batches,
    deployment_counts,
    holds,
    manifests,
    overrides,
    plans,
    repositories,
    revisions,
    runs,
    targets,
)
from towline.reconciler.store.tables_service import (
    admin_tokens,
    audit,
    change_outbox,
    ddi_actions,
    dirty_deployments,
    dirty_devices,
    enrolments,
    events,
    join_tokens,
    leader_epoch,
    sessions,
)

__all__ = [
    "IS_AWAY",
    "admin_tokens",
    "analyses",
    "audit",
    "batches",
    "change_outbox",
    "component_versions",
    "ddi_actions",
    "deployment_counts",
    "device_components",
    "device_groups",
    "device_state",
    "dirty_deployments",
    "dirty_devices",
    "edge_devices",
    "enrolments",
    "events",
    "filter_label_sets",
    "filters",
    "freezes",
    "holds",
    "join_tokens",
    "label_sets",
    "leader_epoch",
    "manifests",
    "metadata",
    "organizations",
    "overrides",
    "plans",
    "repositories",
    "revisions",
    "runs",
    "sessions",
    "targets",
]
