"""The contract's two tables as views over `runs` and `targets`, with all its columns.

The id of a row of `ota_deployment_devices` is the first 24 characters of the deployment's UUID and
12 hex digits of the device's number, made here so that it needs no index of its own.
"""

_RUN_COLUMNS = """
  r.id, r.deployment_name, o.id AS organization_id, r.target_version, r.rollout_strategy,
  r.rollout_percentage, r.status, r.started_at, r.completed_at, r.created_by, r.metadata,
  r.created_at, r.updated_at"""

SQLITE = (
    f"""CREATE VIEW ota_deployments AS SELECT {_RUN_COLUMNS}
FROM runs r JOIN organizations o ON o.name = r.organization""",
    # SQLite keeps a UUID as 32 hex digits without hyphens.
    """CREATE VIEW ota_deployment_devices AS SELECT
  substr(r.id, 1, 8) || '-' || substr(r.id, 9, 4) || '-' || substr(r.id, 13, 4) || '-' ||
  substr(r.id, 17, 4) || '-' || printf('%012x', t.device_seq) AS id,
  r.id AS deployment_id, d.id AS device_id, t.status, t.started_at, t.completed_at,
  t.error_message, t.created_at
FROM targets t JOIN runs r ON r.seq = t.run_seq JOIN edge_devices d ON d.seq = t.device_seq""",
)

POSTGRES = (
    f"""CREATE VIEW ota_deployments AS SELECT
{
        _RUN_COLUMNS.replace("r.started_at", "to_timestamp(r.started_at) AS started_at")
        .replace("r.completed_at", "to_timestamp(r.completed_at) AS completed_at")
        .replace("r.created_at", "to_timestamp(r.created_at) AS created_at")
        .replace("r.updated_at", "to_timestamp(r.updated_at) AS updated_at")
    }
FROM runs r JOIN organizations o ON o.name = r.organization""",
    """CREATE VIEW ota_deployment_devices AS SELECT
  (substr(r.id::text, 1, 24) || lpad(to_hex(t.device_seq), 12, '0'))::uuid AS id,
  r.id AS deployment_id, d.id AS device_id, t.status, to_timestamp(t.started_at) AS started_at,
  to_timestamp(t.completed_at) AS completed_at, t.error_message,
  to_timestamp(t.created_at) AS created_at
FROM targets t JOIN runs r ON r.seq = t.run_seq JOIN edge_devices d ON d.seq = t.device_seq""",
)
