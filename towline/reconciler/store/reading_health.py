"""What tells of a run's health beyond its verdicts: drift, silence, and who is silent."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, Row, Select, and_, exists, func, or_, select

from towline.reconciler.store.clocks import awaits_verdict
from towline.reconciler.store.tables import (
    device_components,
    device_state,
    edge_devices,
    runs,
    targets,
)
from towline.schemas.states import ACTIVE_TARGETS, TargetState

SILENT_LIMIT = 100
_COMPLETED = TargetState.COMPLETED.value


def drifted(connection: Connection, run_seqs: Sequence[int]) -> dict[int, int]:
    """How many devices of each run completed it and report something else since.

    Only of the Deployments' newest runs: what a former one delivered is not wanted any more.
    """
    rows = connection.execute(
        select(targets.c.run_seq, func.count())
        .join(
            device_components,
            and_(
                device_components.c.device_seq == targets.c.device_seq,
                device_components.c.component == targets.c.component,
            ),
        )
        .where(
            targets.c.run_seq.in_(run_seqs),
            targets.c.run_seq.in_(_newest_runs(run_seqs)),
            targets.c.status == _COMPLETED,
            targets.c.verified_at.is_not(None),
            device_components.c.sha256 != targets.c.sha256,
            device_components.c.pin_sha256.is_(None),
            ~_has_newer(),
        )
        .group_by(targets.c.run_seq)
    )
    return dict(rows.all())


def _newest_runs(run_seqs: Sequence[int]) -> Select[tuple[int]]:
    later = runs.alias("later")
    is_later = and_(
        later.c.organization == runs.c.organization,
        later.c.deployment == runs.c.deployment,
        later.c.seq > runs.c.seq,
    )
    return select(runs.c.seq).where(
        runs.c.seq.in_(run_seqs), ~exists(select(later.c.seq).where(is_later))
    )


def _has_newer() -> ColumnElement[bool]:
    """A newer run of the component has the device: what it runs is no drift from this one."""
    newer = targets.alias("newer")
    return exists(
        select(newer.c.run_seq).where(
            newer.c.device_seq == targets.c.device_seq,
            newer.c.component == targets.c.component,
            newer.c.run_seq > targets.c.run_seq,
            newer.c.status.in_([_COMPLETED, *ACTIVE_TARGETS]),
        )
    )


def silent_runs(connection: Connection, run_seqs: Sequence[int], seen_after: int) -> set[int]:
    """The runs that granted devices, none of which was heard of lately."""
    granted = and_(targets.c.run_seq == runs.c.seq, targets.c.granted_at.is_not(None))
    heard_of = exists(
        select(targets.c.run_seq)
        .join(device_state, device_state.c.device_seq == targets.c.device_seq)
        .where(granted, device_state.c.last_seen >= seen_after)
        .correlate(runs)
    )
    rows = connection.execute(
        select(runs.c.seq).where(
            runs.c.seq.in_(run_seqs),
            exists(select(targets.c.run_seq).where(granted).correlate(runs)),
            ~heard_of,
        )
    )
    return set(rows.scalars())


@dataclass(frozen=True, slots=True)
class Silent:
    """A device that holds a grant and was not heard of lately."""

    device: str
    last_seen: int | None
    state: TargetState
    reason: str
    version: str
    attempt: int
    granted_at: int
    goes_back: bool


def silent(connection: Connection, run_seq: int, seen_after: int) -> list[Silent]:
    """At most SILENT_LIMIT of a run's silent devices, the longest silent first."""
    last_seen = func.coalesce(device_state.c.last_seen, 0)
    rows = connection.execute(
        select(targets, edge_devices.c.slug, device_state.c.last_seen, runs.c.target_version)
        .join(runs, runs.c.seq == targets.c.run_seq)
        .join(edge_devices, edge_devices.c.seq == targets.c.device_seq)
        .join(device_state, device_state.c.device_seq == targets.c.device_seq)
        .where(
            targets.c.run_seq == run_seq,
            targets.c.granted_at.is_not(None),
            awaits_verdict(),
            or_(device_state.c.last_seen.is_(None), last_seen < seen_after),
        )
        .order_by(last_seen, edge_devices.c.slug)
        .limit(SILENT_LIMIT)
    )
    return [_silent(row) for row in rows]


def _silent(row: Row[tuple[object, ...]]) -> Silent:
    return Silent(
        device=row.slug,
        last_seen=row.last_seen,
        state=TargetState(row.status),
        reason=row.reason,
        version=row.from_version if row.goes_back else row.target_version,
        attempt=row.attempt,
        granted_at=row.granted_at,
        goes_back=row.goes_back,
    )
