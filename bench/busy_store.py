"""A large fleet in the middle of its life: the store that pages are measured over.

Devices of 12,000 label sets and 6 versions, some of which are silent, were never seen or drifted, a
Deployment that every device completed, one that is half-way with failing devices, and 50,000
events. The database writes most of it itself, the same on both engines.
"""

from itertools import product
from typing import Any
from uuid import uuid4

from sqlalchemy import Connection, insert, text

from tests.reconciler.simulation import ORGANIZATION
from towline.reconciler.store import counters, remembered, repositories
from towline.reconciler.store import tables as t
from towline.reconciler.store.engine import is_postgres
from towline.reconciler.store.inventory import intern_version

VERSIONS = 6
LABELS = {"site": 200, "model": 5, "env": 3, "hw": 4}
"""How many values each has."""
EVENTS = 50_000
PACKAGE = "ee" * 32
"""What the devices run."""
_NUMBERS = {
    True: "generate_series(CAST(1 AS bigint), :devices) AS g(seq)",
    False: "(WITH RECURSIVE g(seq) AS (SELECT 1 UNION ALL SELECT seq + 1 FROM g"
    " WHERE seq < :devices) SELECT seq FROM g)",
}
"""By whether it is Postgres."""
_IDS = {True: "CAST(lpad(to_hex(seq), 32, '0') AS uuid)", False: "printf('%032x', seq)"}
_FLEET = (
    """
INSERT INTO edge_devices (seq, id, slug, organization, device_type, label_set_id, labels_git,
                          labels_people, labels_join, state, created_at)
SELECT seq, {id}, 'edge-' || seq, :organization, 'generic', :first_set + (seq * 7919) % :sets,
       '{{}}', '{{}}', '{{}}', 'active', :now FROM {numbers}
""",
    """
INSERT INTO device_state (device_seq, last_seen, facts)
SELECT seq, CASE WHEN (seq * 61) % 1000 < 849 THEN :now - (seq * 7919) % 200
                 WHEN (seq * 61) % 1000 < 999 THEN :now - 86400 - (seq * 7919) % 86400 END,
       '{{}}' FROM {numbers}
""",
    """
INSERT INTO device_components (device_seq, component, version_id, sha256, reported_at)
SELECT seq, 'system', :first_version + (seq * 31) % :versions,
       CASE WHEN seq % 1000 = 7 THEN :other ELSE :package END, :now FROM {numbers}
""",
)
_TARGETS = """
INSERT INTO targets (run_seq, device_seq, component, batch, status, attempt, position, created_at,
                     sha256, granted_at, completed_at, verified_at)
SELECT :run, seq, 'system', CASE WHEN seq * 10 <= :last THEN 0 ELSE 1 END, word, 1, seq, 0,
       :package,
       CASE WHEN word <> 'pending' THEN at END,
       CASE WHEN word = 'completed' THEN at + 90 END,
       CASE WHEN word = 'completed' THEN at + 200 END
FROM (SELECT seq, :now - 40000 - (seq * 7727) % 40000 AS at, {words} AS word
      FROM edge_devices WHERE seq <= :last) AS chosen
"""
_UNDER_WAY = """
CASE WHEN chance < 20 THEN 'pending' WHEN chance < 25 THEN 'downloading'
     WHEN chance < 30 THEN 'installing' WHEN chance < 35 THEN 'verifying'
     WHEN chance < 95 THEN 'completed' WHEN chance < 97 THEN 'failed'
     WHEN chance < 99 THEN 'rolled_back' ELSE 'skipped' END
""".replace("chance", "(seq * 37) % 100")


def fill(connection: Connection, devices: int, now: int) -> None:
    """Put all of it into an empty store."""
    repositories.ensure(connection, ORGANIZATION, "fleet", "main", "", now)
    _fleet(connection, devices, now)
    _run(connection, "whole", devices, "'completed'", now)
    _run(connection, "half", devices // 2, _UNDER_WAY, now)
    _events(connection, devices, now)
    remembered.forget(connection)


def _fleet(connection: Connection, devices: int, now: int) -> None:
    sets = [
        {key: f"{key}-{n}" for key, n in zip(LABELS, numbers, strict=True)}
        for numbers in product(*map(range, LABELS.values()))
    ]
    rows = [{"digest": f"{n:064}", "labels": each} for n, each in enumerate(sets)]
    connection.execute(insert(t.label_sets), rows)
    asked = {
        "organization": ORGANIZATION,
        "devices": devices,
        "now": now,
        "sets": len(sets),
        "first_set": connection.execute(text("SELECT min(id) FROM label_sets")).scalar_one(),
        "versions": VERSIONS,
        "first_version": min(
            intern_version(connection, "system", f"0.{n}.0") for n in range(VERSIONS)
        ),
        "package": PACKAGE,
        "other": "bb" * 32,
    }
    of = is_postgres(connection)
    for statement in _FLEET:
        made = text(statement.format(id=_IDS[of], numbers=_NUMBERS[of]))
        connection.execute(made, {name: asked[name] for name in made.compile().params})


def _run(connection: Connection, name: str, last: int, words: str, now: int) -> None:
    """A run whose targets are the devices up to number `last`."""
    is_over = name == "whole"
    values = {
        "id": uuid4(),
        "organization": ORGANIZATION,
        "deployment": name,
        "revision": "ef" * 32,
        "turn": 0,
        "component": "system",
        "deployment_name": name,
        "target_version": "0.5.0",
        "rollout_strategy": "canary",
        "rollout_percentage": 10,
        "status": "completed" if is_over else "in_progress",
        "reason": "" if is_over else "RollingOut",
        "is_return": False,
        "is_retry": False,
        "start_requested": False,
        "source_commit": "12" * 20,
        "author": "Ada <ada@example.com>",
        "created_by": uuid4(),
        "metadata": {"update_package_url": "", "checksum": "", "release_notes": ""},
        "offer": {"sha256": PACKAGE},
        "target_count": last,
        "perm_p": 2,
        "perm_step": 1,
        "perm_off": 0,
        "started_at": now - 86400,
        "created_at": now - 86400,
        "updated_at": now - 86400,
    }
    made = connection.execute(insert(t.runs).returning(t.runs.c.seq), values).scalar_one()
    asked = {"run": made, "last": last, "package": PACKAGE, "now": now}
    connection.execute(text(_TARGETS.format(words=words)), asked)
    for number, size in enumerate((last // 10, last - last // 10)):
        connection.execute(insert(t.batches), _batch(made, number, size))
    counters.recount(connection, made)


def _batch(run_seq: int, number: int, size: int) -> dict[str, Any]:
    return {
        "run_seq": run_seq,
        "number": number,
        "name": f"batch {number}",
        "is_last": bool(number),
        "state": "open" if number else "passed",
        "size": size,
        "success_threshold": 95,
        "soak_s": 0,
        "opened_at": 0,
    }


def _events(connection: Connection, devices: int, now: int) -> None:
    number = min(EVENTS, 10 * devices)
    rows: list[dict[str, Any]] = [
        {
            "at": now - number + at,
            "organization": ORGANIZATION,
            "kind": "device.completed" if at % 20 else "device.failed",
            "deployment": "half",
            "device": f"edge-{1 + at % devices}",
            "data": {},
        }
        for at in range(number)
    ]
    connection.execute(insert(t.events), rows)
