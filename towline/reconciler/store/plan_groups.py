"""Targets of a rehearsed run counted by what makes them alike, in one statement."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    and_,
    case,
    false,
    func,
    literal,
    or_,
    select,
)

from towline.reconciler.store.tables import (
    component_versions,
    deployment_counts,
    device_components,
    device_state,
    targets,
)
from towline.schemas.states import TargetState


@dataclass(frozen=True, slots=True)
class RehearsedGroup:
    """So many targets of a run that are alike."""

    batch: int
    status: TargetState
    reason: str
    from_version: str | None
    sha256: str | None
    is_kept: bool
    """The release lies on the device already, as its previous one."""
    is_offline: bool
    n: int


def groups(
    connection: Connection, run: Row[Any], *, since: int, seen_after: int, wanted: Collection[str]
) -> list[RehearsedGroup]:
    """The targets that came to their end at `since` or later, and all that are skipped.

    `wanted` are the checksums of the run's releases.
    """
    alike = _Alike.of(connection, run, sorted(wanted))
    if not alike.standings:
        return []
    key, from_version = alike.key(run, seen_after).label("key"), targets.c.from_version
    rows = connection.execute(
        select(key, from_version, func.count())
        .join(device_state, device_state.c.device_seq == targets.c.device_seq)
        .outerjoin(device_components, _installed())
        .where(targets.c.run_seq == run.seq, is_told(since))
        .group_by(key, from_version)
    )
    return [alike.group(*row) for row in rows]


@dataclass(frozen=True, slots=True)
class _Alike:
    """What makes targets alike, as one whole number: a million texts take long to sort.

    Where a target does not say what it came from, which is a text beside the number, the number
    has the version installed: nobody reports in a rehearsal.
    """

    standings: Sequence[tuple[str, str]]
    """Status and reason."""
    releases: Sequence[str]
    versions: Mapping[int, str]

    @classmethod
    def of(cls, connection: Connection, run: Row[Any], releases: Sequence[str]) -> Self:
        counts, versions = deployment_counts.c, component_versions.c
        standings = select(counts.status, counts.reason).where(counts.run_seq == run.seq).distinct()
        names = select(versions.id, versions.version).where(versions.component == run.component)
        return cls(
            [(row.status, row.reason) for row in connection.execute(standings)],
            releases,
            {row.id: row.version for row in connection.execute(names)},
        )

    def key(self, run: Row[Any], seen_after: int) -> ColumnElement[int]:
        """Of a target, its device and what is installed there."""
        columns = targets.c
        standing = _number_of(
            and_(columns.status == status, columns.reason == reason)
            for status, reason in self.standings
        )
        release = _number_of(columns.sha256 == sha256 for sha256 in self.releases)
        # Only a return can find its release lying by.
        is_kept = _number_of([_lies_by(self.releases) if run.is_return else false()])
        is_seen = _number_of([func.coalesce(device_state.c.last_seen, 0) < seen_after])
        version = case(
            (columns.from_version.is_(None), func.coalesce(device_components.c.version_id, 0)),
            else_=0,
        )
        key = version * _BATCHES_LIMIT + columns.batch
        key = key * (len(self.standings) + 1) + standing
        key = key * (len(self.releases) + 1) + release
        return (key * 2 + is_kept) * 2 + is_seen

    def group(self, key: int, from_version: str | None, n: int) -> RehearsedGroup:
        """What so many targets of one key are."""
        rest, is_seen = divmod(key, 2)
        rest, is_not_kept = divmod(rest, 2)
        rest, release = divmod(rest, len(self.releases) + 1)
        rest, standing = divmod(rest, len(self.standings) + 1)
        version, batch = divmod(rest, _BATCHES_LIMIT)
        status, reason = self.standings[standing]
        return RehearsedGroup(
            batch=batch,
            status=TargetState(status),
            reason=reason,
            from_version=from_version or self.versions.get(version),
            sha256=None if release == len(self.releases) else self.releases[release],
            is_kept=not is_not_kept,
            is_offline=not is_seen,
            n=n,
        )


_BATCHES_LIMIT = 1 << 20


def _number_of(conditions: Iterable[ColumnElement[bool]]) -> ColumnElement[int]:
    """Which of these holds first; how many there are where none does."""
    numbered = [(condition, number) for number, condition in enumerate(conditions)]
    return case(*numbered, else_=len(numbered)) if numbered else literal(0)


def _installed() -> ColumnElement[bool]:
    return and_(
        device_components.c.device_seq == targets.c.device_seq,
        device_components.c.component == targets.c.component,
    )


def is_told(since: int) -> ColumnElement[bool]:
    """A target that came to its end at `since` or later, or is skipped or waiting."""
    return or_(
        targets.c.completed_at >= since,
        targets.c.status.in_([TargetState.SKIPPED.value, TargetState.PENDING.value]),
    )


def _lies_by(wanted: Collection[str]) -> ColumnElement[bool]:
    """The newest install that the device completed replaced the wanted release."""
    former = targets.alias("former")
    newest = (
        select(former.c.from_sha256)
        .where(
            former.c.device_seq == targets.c.device_seq,
            former.c.component == targets.c.component,
            former.c.run_seq < targets.c.run_seq,
            former.c.status == TargetState.COMPLETED.value,
        )
        .order_by(former.c.run_seq.desc())
        .limit(1)
        .scalar_subquery()
    )
    return newest.in_(wanted)
