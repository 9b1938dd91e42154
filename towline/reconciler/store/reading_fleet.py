"""The fleet at a glance: who is there, and which versions run."""

from typing import Any

from sqlalchemy import Connection, func, null, select

from towline.reconciler.store import reading_health
from towline.reconciler.store import tables as t
from towline.reconciler.store.columns import sum_of
from towline.reconciler.store.device_keys import DeviceState
from towline.reconciler.store.device_lists import newest_runs
from towline.schemas.states import TargetState

VERSIONS_LIMIT = 200
_BAD = [TargetState.FAILED.value, TargetState.ROLLED_BACK.value]


def presence_counts(connection: Connection, organization: str, seen_after: int) -> dict[str, int]:
    """How many devices are online, offline and were never seen; and all of them."""
    seen = t.device_state.c.last_seen
    counted = connection.execute(
        select(
            func.count(),
            func.count().filter(seen >= seen_after),
            func.count().filter(seen.is_(None)),
        )
        .select_from(t.edge_devices)
        .outerjoin(t.device_state, t.device_state.c.device_seq == t.edge_devices.c.seq)
        .where(
            t.edge_devices.c.organization == organization,
            t.edge_devices.c.state != DeviceState.DELETED.value,
        )
    ).one()
    total, online, never = counted
    return {"total": total, "online": online, "offline": total - online - never, "never": never}


def trouble_counts(connection: Connection, organization: str) -> dict[str, int]:
    """In the newest run of each Deployment: how many devices failed, and how many drifted."""
    seqs = newest_runs(connection, organization)
    counts = t.deployment_counts.c
    failing = connection.execute(
        select(sum_of(counts.n)).where(counts.run_seq.in_(seqs), counts.status.in_(_BAD))
    ).scalar_one()
    drifted = reading_health.drifted(connection, seqs)
    return {"failing": failing, "drift": sum(drifted.values())}


def run_counts(connection: Connection, organization: str) -> dict[str, int]:
    """How many runs are in which state."""
    rows = connection.execute(
        select(t.runs.c.status, func.count())
        .where(t.runs.c.organization == organization)
        .group_by(t.runs.c.status)
    )
    return {row[0]: row[1] for row in rows}


def versions(connection: Connection, organization: str) -> list[dict[str, Any]]:
    """`{"component", "version", "devices"}`, the most frequent first within a component."""
    parts, known = t.device_components.c, t.component_versions.c
    # Named by who is not in it: most servers have one organization, and there nobody is.
    others = select(t.edge_devices.c.seq).where(t.edge_devices.c.organization != organization)
    counted = (
        select(func.count())
        .select_from(t.device_components)
        .where(parts.version_id == known.id, parts.device_seq.not_in(others))
        .correlate(t.component_versions)
        .scalar_subquery()
        .label("n")
    )
    of_known = connection.execute(select(known.component, known.version, counted)).all()
    of_none = connection.execute(
        select(parts.component, null().label("version"), func.count().label("n"))
        .where(parts.version_id.is_(None), parts.device_seq.not_in(others))
        .group_by(parts.component)
    ).all()
    rows = sorted((row for row in (*of_known, *of_none) if row.n), key=lambda r: (r[0], -r.n))
    return [
        {"component": row.component, "version": row.version, "devices": row.n}
        for row in rows[:VERSIONS_LIMIT]
    ]
