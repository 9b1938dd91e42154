"""The columns of everything that `get` lists, defined once."""

from towline.cli.output import Column, Kind

DEPLOYMENT = Kind(
    "Deployment",
    "name",
    (
        Column("NAME", "name"),
        Column("VERSION", "target_version"),
        Column("STATUS", "status", is_status=True),
        Column("HEALTH", "health"),
        Column("DONE", "progress"),
        Column("REASON", "reason"),
        Column("MESSAGE", "message", is_prose=True),
        Column("STRATEGY", "strategy", is_wide=True),
        Column("COMMIT", "commit", is_wide=True),
        Column("ID", "id", is_wide=True),
    ),
)
DEVICE = Kind(
    "Device",
    "id",
    (
        Column("DEVICE", "id"),
        Column("ONLINE", "online"),
        Column("RUNS", "runs", is_prose=True),
        Column("WANTED", "wanted", is_prose=True),
        Column("STATE", "state", is_status=True),
        Column("REASON", "reason"),
        Column("LAST SEEN", "lastSeen", is_time=True),
        Column("TYPE", "deviceType", is_wide=True),
        Column("LABELS", "labels", is_prose=True, is_wide=True),
    ),
)
BATCH = Kind(
    "Batch",
    "name",
    (
        Column("DEPLOYMENT", "deployment"),
        Column("VERSION", "version"),
        Column("BATCH", "name"),
        Column("STATE", "state", is_status=True),
        Column("SIZE", "shownSize"),
        Column("DEVICES", "counts", is_prose=True),
        Column("WAITS FOR", "waitsFor", is_prose=True),
        Column("MEDIAN", "median", is_wide=True),
        Column("THRESHOLD", "successThreshold", is_wide=True),
    ),
)
GROUP = Kind(
    "Group",
    "name",
    (
        Column("GROUP", "name"),
        Column("DEVICES", "devices"),
        Column("FILTERS", "filters", is_prose=True),
        Column("DEPLOYMENTS", "deployments", is_prose=True),
        Column("FILE", "file", is_prose=True, is_wide=True),
    ),
)
EVENT = Kind(
    "Event",
    "id",
    (
        Column("TIME", "at", is_time=True),
        Column("TIMES", "count"),
        Column("LAST", "lastAt", is_time=True),
        Column("EVENT", "kind"),
        Column("DEPLOYMENT", "deployment"),
        Column("DEVICE", "device"),
        Column("REASON", "reason"),
        Column("MESSAGE", "message", is_prose=True),
        Column("CAUSE", "cause", is_prose=True, is_wide=True),
    ),
)
