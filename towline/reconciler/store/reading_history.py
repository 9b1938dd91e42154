"""What people read of the past: the runs that a device was in, what it reported, the run before."""

from typing import Any

from sqlalchemy import Connection, Row, select

from towline.reconciler.store import arm_versions
from towline.reconciler.store import tables as t
from towline.reconciler.store.reading_batches import when

_STEPS = ("device.", "target.")


def former_run(connection: Connection, run: Row[Any]) -> Row[Any] | None:
    """The run of the same Deployment before this one."""
    return connection.execute(
        select(t.runs)
        .where(
            t.runs.c.organization == run.organization,
            t.runs.c.deployment == run.deployment,
            t.runs.c.seq < run.seq,
        )
        .order_by(t.runs.c.seq.desc())
        .limit(1)
    ).first()


def of_device(connection: Connection, device_seq: int, limit: int) -> list[dict[str, Any]]:
    """The device in its last runs, newest first."""
    rows = connection.execute(
        select(
            t.targets,
            t.runs.c.id.label("run"),
            t.runs.c.deployment,
            t.runs.c.target_version,
            t.runs.c.source_commit,
        )
        .join(t.runs, t.runs.c.seq == t.targets.c.run_seq)
        .where(t.targets.c.device_seq == device_seq)
        .order_by(t.targets.c.run_seq.desc())
        .limit(limit)
    ).all()
    of_arms = arm_versions.versions_of(connection, (row.run_seq for row in rows if row.arm))
    return [
        {
            "run": str(row.run),
            "deployment": row.deployment,
            "component": row.component,
            "version": of_arms.get((row.run_seq, row.arm), row.target_version),
            "fromVersion": row.from_version,
            "status": row.status,
            "reason": row.reason,
            "attempt": row.attempt,
            "message": row.error_message or "",
            "commit": row.source_commit,
            "startedAt": when(row.started_at or row.granted_at),
            "endedAt": when(row.verified_at or row.completed_at),
        }
        for row in rows
    ]


def journal(
    connection: Connection, organization: str, device: str, limit: int
) -> list[dict[str, Any]]:
    """The last steps that the device reported, newest first: its journal as it arrived here."""
    its_run = (t.runs.c.id == t.events.c.run) & (t.runs.c.organization == organization)
    rows = connection.execute(
        select(t.events, t.runs.c.target_version)
        .outerjoin(t.runs, its_run)
        .where(
            t.events.c.organization == organization,
            t.events.c.device == device,
            t.events.c.run.is_not(None),
            t.events.c.kind.startswith(_STEPS[0]) | t.events.c.kind.startswith(_STEPS[1]),
        )
        .order_by(t.events.c.id.desc())
        .limit(limit)
    )
    return [
        {
            "at": when(row.at),
            "run": str(row.run),
            "deployment": row.deployment,
            "version": row.target_version or "",
            "step": row.kind.partition(".")[2],
            "reason": row.reason,
            "message": row.message,
        }
        for row in rows
    ]
