"""After completion: devices that drifted from what they completed, and how healing goes."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, exists, func, or_, select

from towline.reconciler.store.tables import (
    device_components,
    device_state,
    edge_devices,
    targets,
)
from towline.reconciler.store.targets import TargetGroup, has_no_other_active
from towline.schemas.states import TargetState

HEALS_PER_RUN = 3
HEAL_REST_S = 24 * 3600
"""A drifted device is healed at most once a day."""
RECENT_VERDICTS = 20
LIMIT = 1000


@dataclass(frozen=True, slots=True)
class Drift:
    """Devices whose last report shows something else than they completed in a run."""

    healable: tuple[int, ...]
    looping: tuple[int, ...]
    """Healed as often as a run allows."""
    next_heal_at: int | None


def drift(
    connection: Connection,
    run: Row[Any],
    still_owned: ColumnElement[bool],
    seen_after: int,
    now: int,
) -> Drift:
    """At most 1,000 drifted devices of a completed run, oldest position first."""
    rows = connection.execute(
        select(targets.c.device_seq, targets.c.heals, targets.c.healed_at)
        .join(
            device_components,
            and_(
                device_components.c.device_seq == targets.c.device_seq,
                device_components.c.component == targets.c.component,
            ),
        )
        .join(device_state, device_state.c.device_seq == targets.c.device_seq)
        .join(edge_devices, edge_devices.c.seq == targets.c.device_seq)
        .where(
            targets.c.run_seq == run.seq,
            targets.c.status == TargetState.COMPLETED.value,
            targets.c.verified_at.is_not(None),
            device_components.c.sha256 != targets.c.sha256,
            device_components.c.pin_sha256.is_(None),
            device_state.c.last_seen >= seen_after,
            still_owned,
            has_no_other_active(),
            ~_has_newer(),
        )
        .order_by(targets.c.position)
        .limit(LIMIT)
    ).all()
    rested_by = now - HEAL_REST_S
    rested = [row for row in rows if row.healed_at is None or row.healed_at <= rested_by]
    resting = [row.healed_at for row in rows if row.healed_at and row.healed_at > rested_by]
    return Drift(
        healable=tuple(row.device_seq for row in rested if row.heals < HEALS_PER_RUN),
        looping=tuple(row.device_seq for row in rested if row.heals >= HEALS_PER_RUN),
        next_heal_at=min(resting) + HEAL_REST_S if resting else None,
    )


def _has_newer() -> ColumnElement[bool]:
    """Another run of the component has the device by now: what it runs is no drift from this."""
    newer = targets.alias("newer")
    return exists(
        select(newer.c.run_seq).where(
            newer.c.device_seq == targets.c.device_seq,
            newer.c.component == targets.c.component,
            newer.c.run_seq > targets.c.run_seq,
            newer.c.status == TargetState.COMPLETED.value,
        )
    )


def served_since(connection: Connection, run_seq: int, since: int) -> int:
    """Latecomers and heals of a run after a time."""
    return connection.execute(
        select(func.count())
        .select_from(targets)
        .where(
            targets.c.run_seq == run_seq,
            targets.c.status != TargetState.SKIPPED.value,
            or_(targets.c.created_at > since, targets.c.healed_at > since),
        )
    ).scalar_one()


def recent_verdicts(connection: Connection, run_seq: int, since: int) -> list[TargetGroup]:
    """The last 20 verdicts of a run after a time, each a group of one."""
    at = func.coalesce(targets.c.verified_at, targets.c.completed_at)
    rows = connection.execute(
        select(targets.c.status, targets.c.reason, targets.c.verified_at)
        .where(
            targets.c.run_seq == run_seq,
            at > since,
            targets.c.granted_at.is_not(None),
            targets.c.is_set_aside.is_(False),
            targets.c.goes_back.is_(False),
            or_(
                targets.c.verified_at.is_not(None),
                targets.c.status.in_([TargetState.FAILED.value, TargetState.ROLLED_BACK.value]),
            ),
        )
        .order_by(at.desc())
        .limit(RECENT_VERDICTS)
    )
    return [
        TargetGroup(
            TargetState(row.status),
            row.reason,
            is_granted=True,
            is_verified=bool(row.verified_at),
            n=1,
        )
        for row in rows
    ]
