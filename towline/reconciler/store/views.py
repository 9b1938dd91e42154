"""The contract's two tables as views over `runs` and `targets`, with all its columns.

Ids and times read as in the API: on Postgres by their types, on SQLite, which has neither, by their
text. The id of a row of `ota_deployment_devices` is the first 24 characters of the deployment's
UUID and 12 hex digits of the device's number, made here so that it needs no index of its own.
"""


def _uuid(column: str) -> str:
    """SQLite keeps a UUID as 32 hex digits: with hyphens, as everybody writes it."""
    return f"{_uuid_start(column)} || substr({column}, 21)"


def _uuid_start(column: str) -> str:
    parts = ((1, 8), (9, 4), (13, 4), (17, 4))
    return " || ".join(f"substr({column}, {at}, {length}) || '-'" for at, length in parts)


def _time(column: str) -> str:
    """Seconds since the epoch as RFC 3339 in UTC, which is in the order of time as a text, too."""
    return f"strftime('%Y-%m-%dT%H:%M:%SZ', {column}, 'unixepoch')"


_RUNS = "FROM runs r JOIN organizations o ON o.name = r.organization"
_TARGETS = """FROM runs r JOIN targets t ON t.run_seq = r.seq
JOIN edge_devices d ON d.seq = t.device_seq"""
# No index knows an id with hyphens: one Deployment's devices are found by looking at each run, of
# which there are few, and never at each target. CROSS JOIN keeps SQLite to that order.
_RUNS_FIRST = _TARGETS.replace("r JOIN", "r CROSS JOIN")

SQLITE = (
    f"""CREATE VIEW ota_deployments AS SELECT
  {_uuid("r.id")} AS id, r.deployment_name, {_uuid("o.id")} AS organization_id,
  r.target_version, r.rollout_strategy, r.rollout_percentage, r.status,
  {_time("r.started_at")} AS started_at, {_time("r.completed_at")} AS completed_at,
  {_uuid("r.created_by")} AS created_by, r.metadata,
  {_time("r.created_at")} AS created_at, {_time("r.updated_at")} AS updated_at
{_RUNS}""",
    f"""CREATE VIEW ota_deployment_devices AS SELECT
  {_uuid_start("r.id")} || printf('%012x', t.device_seq) AS id,
  {_uuid("r.id")} AS deployment_id, {_uuid("d.id")} AS device_id, t.status,
  {_time("t.started_at")} AS started_at, {_time("t.completed_at")} AS completed_at,
  t.error_message, {_time("t.created_at")} AS created_at
{_RUNS_FIRST}""",
)

POSTGRES = (
    f"""CREATE VIEW ota_deployments AS SELECT
  r.id, r.deployment_name, o.id AS organization_id, r.target_version, r.rollout_strategy,
  r.rollout_percentage, r.status, to_timestamp(r.started_at) AS started_at,
  to_timestamp(r.completed_at) AS completed_at, r.created_by, r.metadata,
  to_timestamp(r.created_at) AS created_at, to_timestamp(r.updated_at) AS updated_at
{_RUNS}""",
    f"""CREATE VIEW ota_deployment_devices AS SELECT
  (substr(r.id::text, 1, 24) || lpad(to_hex(t.device_seq), 12, '0'))::uuid AS id,
  r.id AS deployment_id, d.id AS device_id, t.status, to_timestamp(t.started_at) AS started_at,
  to_timestamp(t.completed_at) AS completed_at, t.error_message,
  to_timestamp(t.created_at) AS created_at
{_TARGETS}""",
)
