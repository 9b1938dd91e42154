# ruff: noqa: S608 all that is put into a statement is of this module
"""A large fleet, written by the database itself: a million devices within a minute.

Each has a site, a model, an environment, hardware and what it runs of the component `system`; all
were just seen.
"""

from itertools import product

from sqlalchemy import Connection, insert, text

from tests.reconciler.simulation import ORGANIZATION
from towline.reconciler.store import remembered
from towline.reconciler.store import tables as t
from towline.reconciler.store.engine import is_postgres
from towline.reconciler.store.inventory import intern_version

SITES = 200
VERSIONS = 6
LOTS = ("first", "second", "third", "fourth")
LOT = 1000
"""So many devices have each of these labels, however large the fleet: shares are whole percents."""
_OTHERS = [("m", 5), ("e", 3), ("h", 4)]

_NUMBERS = {
    "sqlite": "(WITH RECURSIVE g(seq) AS (SELECT 1 UNION ALL SELECT seq + 1 FROM g"
    " WHERE seq < {devices}) SELECT seq FROM g)",
    "postgresql": "generate_series(1::bigint, {devices}) AS g(seq)",
}
_IDS = {
    "sqlite": "printf('%032x', seq)",
    "postgresql": "lpad(to_hex(seq), 32, '0')::uuid",
}


def fill(connection: Connection, devices: int, now: int) -> None:
    """Put so many devices into an empty store."""
    sets = _label_sets(connection)
    versions = [intern_version(connection, "system", f"0.{n}.0") for n in range(VERSIONS)]
    engine = "postgresql" if is_postgres(connection) else "sqlite"
    numbers = _NUMBERS[engine].format(devices=devices)
    every = devices // (LOT * len(LOTS))
    # A site is a number's rest, so that a lot's devices are spread over all sites.
    chosen = (
        f"CASE WHEN seq % {every} = 0 AND seq / {every} <= {LOT * len(LOTS)}"
        f" THEN {sets} + (seq / {every}) % {SITES * len(LOTS)}"
        f" ELSE (seq * 7919) % {sets} END + 1"
    )
    statements = (
        "INSERT INTO edge_devices (seq, id, slug, organization, device_type, label_set_id,"
        " labels_git, labels_people, labels_join, state, created_at)"
        f" SELECT seq, {_IDS[engine]}, 'edge-' || seq, '{ORGANIZATION}', 'generic', {chosen},"
        f" '{{}}', '{{}}', '{{}}', 'active', {now} FROM {numbers}",
        "INSERT INTO device_state (device_seq, last_seen, facts)"
        f" SELECT seq, {now}, '{{}}' FROM {numbers}",
        "INSERT INTO device_components (device_seq, component, version_id, sha256, reported_at)"
        f" SELECT seq, 'system', {versions[0]} + (seq * 31) % {VERSIONS}, '{'ee' * 32}', {now}"
        f" FROM {numbers}",
    )
    for statement in statements:
        connection.execute(text(statement))
    remembered.forget(connection)


def _label_sets(connection: Connection) -> int:
    """Write all label sets; returns how many are of no lot: those of the lots are numbered on."""
    common = [
        {"site": f"s{site}"} | {key: f"{key}{n}" for (key, _), n in zip(_OTHERS, rest, strict=True)}
        for rest in product(*(range(n) for _, n in _OTHERS))
        for site in range(SITES)
    ]
    of_lots = [{"site": f"s{site}", "lot": lot} for site in range(SITES) for lot in LOTS]
    connection.execute(
        insert(t.label_sets),
        [
            {"id": number, "digest": f"{number:064}", "labels": labels}
            for number, labels in enumerate([*common, *of_lots], 1)
        ],
    )
    return len(common)
