"""What tells of a run's health beyond its verdicts: drift, silence, and who is silent."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, exists, func, or_, select

from towline.reconciler.store.columns import unindexed
from towline.reconciler.store.tables import (
    IS_AWAY,
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
    found = {}
    for run in _newest_among(connection, run_seqs):
        counted = select(func.count()).select_from(targets).where(*_has_drifted(run))
        if n := connection.execute(counted).scalar_one():
            found[run.seq] = n
    return found


def drifted_devices(connection: Connection, run_seqs: Sequence[int]) -> set[int]:
    """The devices that `drifted` counts."""
    found: set[int] = set()
    for run in _newest_among(connection, run_seqs):
        devices = select(targets.c.device_seq).where(*_has_drifted(run))
        found |= set(connection.execute(devices).scalars())
    return found


def _newest_among(connection: Connection, run_seqs: Sequence[int]) -> Sequence[Any]:
    later = runs.alias("later")
    is_later = and_(
        later.c.organization == runs.c.organization,
        later.c.deployment == runs.c.deployment,
        later.c.seq > runs.c.seq,
    )
    return connection.execute(
        select(runs.c.seq, runs.c.component, runs.c.offer).where(
            runs.c.seq.in_(run_seqs), ~exists(select(later.c.seq).where(is_later))
        )
    ).all()


def _has_drifted(run: Row[Any]) -> list[ColumnElement[bool]]:
    """By far the most devices run what they should: the index leads to the others only."""
    parts = device_components.c
    other = and_(parts.component == run.component, parts.pin_sha256.is_(None))
    packages = _checksums(run.offer)
    if len(packages) == 1:
        (sha256,) = packages
        of_run = targets.c.sha256 == sha256
        runs_other = or_(parts.sha256 < sha256, parts.sha256 > sha256)
        candidates = select(parts.device_seq).where(other, runs_other)
        drifts = and_(of_run, targets.c.device_seq.in_(candidates))
    else:
        own = and_(parts.device_seq == targets.c.device_seq, parts.sha256 != targets.c.sha256)
        drifts = exists(select(parts.device_seq).where(other, own).correlate(targets))
    return [
        targets.c.run_seq == run.seq,
        targets.c.status == _COMPLETED,
        targets.c.verified_at.is_not(None),
        drifts,
        ~_has_newer(),
    ]


def _checksums(offer: Mapping[str, Any] | None) -> set[str]:
    """Of the packages that a run delivers; one of a former version holds one."""
    if offer is None:
        return set()
    return {each["sha256"] for each in offer.get("releases", [offer])}


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
    granted = (
        select(targets.c.run_seq)
        .where(targets.c.run_seq == runs.c.seq, targets.c.granted_at.is_not(None))
        .correlate(runs)
    )
    heard_of = granted.join(device_state, device_state.c.device_seq == targets.c.device_seq).where(
        device_state.c.last_seen >= seen_after
    )
    # One of each settles it; asked by EXISTS, Postgres reads all devices of all runs first.
    rows = connection.execute(
        select(runs.c.seq).where(
            runs.c.seq.in_(run_seqs),
            granted.limit(1).scalar_subquery().is_not(None),
            heard_of.limit(1).scalar_subquery().is_(None),
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
    # Of the many that may be under way only the few that are told are looked up.
    first = (
        select(targets.c.device_seq, last_seen.label("seen"))
        .join(device_state, device_state.c.device_seq == targets.c.device_seq)
        .where(
            # Not by the key: the index of those who are away is much shorter than a large run.
            unindexed(targets.c.run_seq) == run_seq,
            IS_AWAY,
            or_(device_state.c.last_seen.is_(None), last_seen < seen_after),
        )
        .order_by(last_seen, targets.c.device_seq)
        .limit(SILENT_LIMIT)
        .subquery()
    )
    rows = connection.execute(
        select(targets, edge_devices.c.slug, device_state.c.last_seen, runs.c.target_version)
        .join(first, first.c.device_seq == targets.c.device_seq)
        .join(runs, runs.c.seq == targets.c.run_seq)
        .join(edge_devices, edge_devices.c.seq == targets.c.device_seq)
        .join(device_state, device_state.c.device_seq == targets.c.device_seq)
        .where(targets.c.run_seq == run_seq)
        .order_by(first.c.seen, first.c.device_seq)
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
