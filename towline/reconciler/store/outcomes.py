"""What a whole batch of devices comes to, in one statement: for rehearsals, never for a real fleet.

The counters move with the states, as they do for a single report.
"""

from sqlalchemy import ColumnElement, Connection, Row, and_, func, or_, select, update

from towline.reconciler.store import counters
from towline.reconciler.store.tables import (
    batches,
    component_versions,
    deployment_counts,
    device_components,
    runs,
    targets,
)
from towline.schemas.states import ACTIVE_TARGETS, TargetState

_ACTIVE = [state.value for state in ACTIVE_TARGETS]


def complete(connection: Connection, run_seq: int, *, only_granted: bool, now: int) -> int:
    """Complete and verify the run's targets that have no verdict yet; returns how many.

    `only_granted` leaves those alone that were not granted.
    """
    waits = [and_(targets.c.run_seq == run_seq, _lacks_verdict())]
    if only_granted:
        waits.append(targets.c.granted_at.is_not(None))
    counts = deployment_counts.c
    is_unverified = and_(
        counts.status == TargetState.COMPLETED.value, counts.is_verified.is_(False)
    )
    counted = [counts.run_seq == run_seq, or_(counts.status.in_(_ACTIVE), is_unverified)]
    if only_granted:
        counted.append(counts.is_granted)
    groups = connection.execute(
        select(counts.batch, func.sum(counts.n)).where(*counted).group_by(counts.batch)
    ).all()
    if not groups:
        return 0
    connection.execute(
        update(targets)
        .where(*waits)
        .values(
            status=TargetState.COMPLETED.value,
            reason="",
            from_version=func.coalesce(targets.c.from_version, _installed_version()),
            from_sha256=func.coalesce(targets.c.from_sha256, _installed_sha256()),
            granted_at=func.coalesce(targets.c.granted_at, now),
            completed_at=now,
            verified_at=now,
        )
    )
    moved = sum(int(row[1]) for row in groups)
    counters.recount(connection, run_seq)
    connection.execute(
        update(batches)
        .where(batches.c.run_seq == run_seq, batches.c.number.in_({row[0] for row in groups}))
        .values(last_verdict_at=now)
    )
    return moved


def unfinished(
    connection: Connection, organization: str, deployment: str, newest: int
) -> list[Row[tuple[int]]]:
    """The runs before the newest one in which a device still works."""
    works = (
        select(targets.c.run_seq)
        .where(
            targets.c.run_seq == runs.c.seq,
            targets.c.granted_at.is_not(None),
            targets.c.status.in_(_ACTIVE),
        )
        .exists()
    )
    return list(
        connection.execute(
            select(runs).where(
                runs.c.organization == organization,
                runs.c.deployment == deployment,
                runs.c.seq < newest,
                works,
            )
        )
    )


def _lacks_verdict() -> ColumnElement[bool]:
    is_unverified = and_(
        targets.c.status == TargetState.COMPLETED.value, targets.c.verified_at.is_(None)
    )
    return or_(targets.c.status.in_(_ACTIVE), is_unverified)


def _installed_version() -> ColumnElement[str | None]:
    return (
        select(component_versions.c.version)
        .join(device_components, device_components.c.version_id == component_versions.c.id)
        .where(*_of_target())
        .scalar_subquery()
    )


def _installed_sha256() -> ColumnElement[str | None]:
    return select(device_components.c.sha256).where(*_of_target()).scalar_subquery()


def _of_target() -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return (
        device_components.c.device_seq == targets.c.device_seq,
        device_components.c.component == targets.c.component,
    )
