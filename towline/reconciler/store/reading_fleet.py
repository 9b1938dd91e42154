"""The fleet at a glance: who is there, which versions run, and devices by what is asked."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, select

from towline.reconciler.store import reading_devices, reading_health
from towline.reconciler.store import tables as t
from towline.schemas.states import TargetState

VERSIONS_LIMIT = 200
_BAD = [TargetState.FAILED.value, TargetState.ROLLED_BACK.value]


class Presence(StrEnum):
    """When a device was seen last."""

    ONLINE = "online"
    OFFLINE = "offline"
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class FleetFilter:
    """Which devices are wanted."""

    contains: str = ""
    """A part of the id."""
    labels: Mapping[str, str] = field(default_factory=dict)
    presence: Presence | None = None
    after: str = ""
    """Only ids behind this one."""


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
        .where(t.edge_devices.c.organization == organization)
    ).one()
    total, online, never = counted
    return {"total": total, "online": online, "offline": total - online - never, "never": never}


def trouble_counts(connection: Connection, organization: str) -> dict[str, int]:
    """In the newest run of each Deployment: how many devices failed, and how many drifted."""
    newest = connection.execute(
        select(func.max(t.runs.c.seq))
        .where(t.runs.c.organization == organization)
        .group_by(t.runs.c.deployment)
    ).scalars()
    seqs = list(newest)
    counts = t.deployment_counts.c
    failing = connection.execute(
        select(func.coalesce(func.sum(counts.n), 0)).where(
            counts.run_seq.in_(seqs), counts.status.in_(_BAD)
        )
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
    n = func.count().label("n")
    rows = connection.execute(
        select(t.device_components.c.component, t.component_versions.c.version, n)
        .join(t.edge_devices, t.edge_devices.c.seq == t.device_components.c.device_seq)
        .outerjoin(
            t.component_versions, t.component_versions.c.id == t.device_components.c.version_id
        )
        .where(t.edge_devices.c.organization == organization)
        .group_by(t.device_components.c.component, t.device_components.c.version_id)
        .order_by(t.device_components.c.component, n.desc())
        .limit(VERSIONS_LIMIT)
    )
    return [{"component": row[0], "version": row[1], "devices": row[2]} for row in rows]


def devices_part(
    connection: Connection,
    organization: str,
    wanted: FleetFilter,
    limit: int,
    seen_after: int,
) -> tuple[list[dict[str, Any]], int, str | None]:
    """At most `limit` devices by id, how many fit in all, and behind which id the rest begins."""
    where = [t.edge_devices.c.organization == organization, *_conditions(wanted, seen_after)]
    joined = (
        select(t.edge_devices.c.seq)
        .join(t.label_sets, t.label_sets.c.id == t.edge_devices.c.label_set_id)
        .outerjoin(t.device_state, t.device_state.c.device_seq == t.edge_devices.c.seq)
        .where(*where)
    )
    total = connection.execute(select(func.count()).select_from(joined.subquery())).scalar_one()
    seqs = connection.execute(
        joined.where(t.edge_devices.c.slug > wanted.after)
        .order_by(t.edge_devices.c.slug)
        .limit(limit + 1)
    ).scalars()
    found = list(seqs)
    shown = reading_devices.of_numbers(connection, found[:limit], seen_after=seen_after)
    return shown, total, str(shown[-1]["id"]) if len(found) > limit else None


def _conditions(wanted: FleetFilter, seen_after: int) -> list[ColumnElement[bool]]:
    where: list[ColumnElement[bool]] = []
    if wanted.contains:
        where.append(t.edge_devices.c.slug.contains(wanted.contains, autoescape=True))
    for key, value in wanted.labels.items():
        where.append(t.label_sets.c.labels[key].as_string() == value)
    seen = t.device_state.c.last_seen
    match wanted.presence:
        case Presence.ONLINE:
            where.append(seen >= seen_after)
        case Presence.OFFLINE:
            where.append(seen < seen_after)
        case Presence.NEVER:
            where.append(seen.is_(None))
    return where
