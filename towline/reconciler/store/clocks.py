"""The clocks of a Deployment's targets: which ran out, and when the next one will.

A target's clocks: its grant must be fetched within three poll intervals, its verdict must come
within deviceTimeout of the fetch, and one that is silent without a grant is deferred: in the last
batch after offline.after, before it after three poll intervals, as another takes its place.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, case, exists, func, or_, select

from towline.reconciler.store.sweeps import sweep_s
from towline.reconciler.store.tables import (
    IS_AWAY,
    batches,
    deployment_counts,
    device_state,
    edge_devices,
    runs,
    targets,
)
from towline.reconciler.store.targets import has_no_other_active
from towline.schemas.states import ACTIVE_TARGETS, TargetState

_ACTIVE = [state.value for state in ACTIVE_TARGETS]


class Lapse(StrEnum):
    """A clock that ran out for one device."""

    NOT_FETCHED = "not_fetched"
    """The grant was not fetched within three poll intervals."""
    TIMED_OUT = "timed_out"
    """deviceTimeout since the first fetch of the grant."""
    UNPREPARED = "unprepared"
    """deviceTimeout since the first fetch of `prepare`, and nothing is staged."""
    OFFLINE = "offline"
    """offline.after since the selection or the last contact, without a grant."""
    LEFT = "left"
    """Not granted, and the filters own it no longer."""
    RETURNED = "returned"
    """A deferred device is back."""


@dataclass(frozen=True, slots=True)
class Lapsed:
    """One device for which a clock ran out, in the newest run or in one that still finishes."""

    run_seq: int
    device_seq: int
    batch: int
    lapse: Lapse


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a Deployment waits for its devices, in seconds."""

    seen_s: int
    """Three poll intervals."""
    offline_s: int


@dataclass(frozen=True, slots=True)
class Asked:
    """Whose clocks are looked at."""

    organization: str
    deployment: str
    newest: int
    """The newest run."""
    patience: Patience
    now: int
    is_recheck: bool = True
    """Who left the filters is asked, too."""
    swept_at: int | None = None
    """When it was last asked who of the last batch is silent for offline.after."""

    @property
    def is_sweep(self) -> bool:
        """That is asked now, too."""
        return self.next_sweep_at <= self.now

    @property
    def next_sweep_at(self) -> int:
        """When it is to be asked again."""
        every_s = sweep_s(self.patience.offline_s)
        return self.now if self.swept_at is None else self.swept_at + every_s

    @property
    def sweep_after(self) -> int:
        """When after now."""
        return self.now + sweep_s(self.patience.offline_s) if self.is_sweep else self.next_sweep_at


def lapsed(
    connection: Connection, asked: Asked, still_owned: ColumnElement[bool], limit: int = 500
) -> tuple[Lapsed, ...]:
    """At most `limit` targets of each kind of lapse.

    `still_owned` is the manifest's filter over `edge_devices`.
    """
    found: list[Lapsed] = []
    for lapse, condition in _conditions(connection, asked, still_owned):
        rows = connection.execute(
            select(targets.c.run_seq, targets.c.device_seq, targets.c.batch)
            .join(device_state, device_state.c.device_seq == targets.c.device_seq)
            .join(edge_devices, edge_devices.c.seq == targets.c.device_seq)
            .where(condition)
            .limit(limit)
        )
        found += [Lapsed(run, device, batch, lapse) for run, device, batch in rows]
    return tuple(sorted(set(found), key=lambda each: (each.run_seq, each.device_seq)))


def runs_of(organization: str, deployment: str) -> Select[tuple[int]]:
    """The numbers of a Deployment's runs."""
    return select(runs.c.seq).where(
        runs.c.organization == organization, runs.c.deployment == deployment
    )


def of_runs(chosen: Select[tuple[int]] | Sequence[int]) -> ColumnElement[bool]:
    """The target is of one of these runs; found by another index than that of the run's targets."""
    return (targets.c.run_seq + 0).in_(chosen)


def _conditions(
    connection: Connection, asked: Asked, still_owned: ColumnElement[bool]
) -> Iterator[tuple[Lapse, ColumnElement[bool]]]:
    now, patience = asked.now, asked.patience
    is_newest = of_runs([asked.newest])
    is_of_deployment = of_runs(runs_of(asked.organization, asked.deployment))
    is_due = targets.c.deadline <= now
    ungranted = _ungranted(asked)
    if asked.is_recheck or asked.is_sweep:
        yield Lapse.LEFT, and_(ungranted, targets.c.goes_back.is_(False), ~still_owned)
    # Whoever falls silent for long no longer says that it waits for a window or a lock.
    counts = or_(_STANDS, _last_seen() <= now - patience.offline_s)
    yield Lapse.TIMED_OUT, and_(is_of_deployment, awaits_verdict(), _IS_GRANTED, counts, is_due)
    yield (
        Lapse.UNPREPARED,
        and_(
            is_newest,
            targets.c.status == TargetState.PENDING.value,
            ~_IS_GRANTED,
            targets.c.staged_at.is_(None),
            is_due,
        ),
    )
    yield (
        Lapse.NOT_FETCHED,
        and_(
            IS_AWAY,
            is_newest,
            targets.c.status == TargetState.PENDING.value,
            targets.c.granted_at <= now - patience.seen_s,
            targets.c.fetched_at.is_(None),
        ),
    )
    # Before the last batch a silent device is replaced at once.
    if early := _early_batches(connection, asked.newest):
        is_early = and_(targets.c.batch.in_(early), targets.c.goes_back.is_(False))
        silent = _is_silent(now, patience.seen_s)
        yield Lapse.OFFLINE, and_(ungranted, still_owned, is_early, silent)
    if asked.is_sweep:
        is_late = or_(targets.c.batch.not_in(_not_last(asked.newest)), targets.c.goes_back)
        silent = _is_silent(now, patience.offline_s)
        may_wait = or_(still_owned, targets.c.goes_back)
        yield Lapse.OFFLINE, and_(ungranted, may_wait, is_late, silent)
    if _has_deferred(connection, asked.newest):
        yield Lapse.RETURNED, _has_returned(asked, still_owned)


_IS_GRANTED = targets.c.granted_at.is_not(None)
_STANDS = targets.c.waits == ""
"""Its clock runs: it does not wait for a window or a lock."""


def _ungranted(asked: Asked) -> ColumnElement[bool]:
    return and_(
        targets.c.run_seq == asked.newest,
        targets.c.status == TargetState.PENDING.value,
        ~_IS_GRANTED,
    )


def _not_last(run_seq: int) -> Select[tuple[int]]:
    return select(batches.c.number).where(
        batches.c.run_seq == run_seq, batches.c.is_last.is_(False)
    )


def _early_batches(connection: Connection, run_seq: int) -> list[int]:
    """Batches before the last in which a device waits for its grant."""
    counts = deployment_counts.c
    rows = connection.execute(
        select(counts.batch)
        .where(
            counts.run_seq == run_seq,
            counts.status == TargetState.PENDING.value,
            counts.is_granted.is_(False),
            counts.batch.in_(_not_last(run_seq)),
        )
        .distinct()
    )
    return sorted(rows.scalars())


def _has_deferred(connection: Connection, run_seq: int) -> bool:
    counts = deployment_counts.c
    deferred = exists(
        select(counts.n).where(counts.run_seq == run_seq, counts.reason == "OfflineDeferred")
    )
    return bool(connection.execute(select(deferred)).scalar_one())


def _last_seen() -> ColumnElement[int]:
    return func.coalesce(device_state.c.last_seen, 0)


def _later(one: ColumnElement[Any], other: ColumnElement[Any]) -> ColumnElement[Any]:
    return case((one > other, one), else_=other)


def _is_silent(now: int, for_s: int) -> ColumnElement[bool]:
    return and_(targets.c.created_at <= now - for_s, _last_seen() <= now - for_s)


def _has_returned(asked: Asked, still_owned: ColumnElement[bool]) -> ColumnElement[bool]:
    takes = select(runs.c.seq).where(
        runs.c.seq == asked.newest,
        runs.c.goes_back == "",
        runs.c.status.in_(("in_progress", "completed")),
    )
    may_enter = and_(
        targets.c.batch.not_in(_not_last(asked.newest)),
        targets.c.run_seq.in_(takes),
        still_owned,
    )
    return and_(
        targets.c.run_seq == asked.newest,
        targets.c.status == TargetState.SKIPPED.value,
        targets.c.reason == "OfflineDeferred",
        _last_seen() >= asked.now - asked.patience.seen_s,
        or_(targets.c.goes_back, may_enter),
        has_no_other_active(),
    )


def awaits_verdict() -> ColumnElement[bool]:
    """Active, or completed and not verified yet."""
    return or_(
        targets.c.status.in_(_ACTIVE),
        and_(
            targets.c.status == TargetState.COMPLETED.value,
            targets.c.verified_at.is_(None),
        ),
    )


def next_clock(connection: Connection, asked: Asked) -> int | None:
    """The next time after `now` at which a clock of a target can run out.

    Whoever waits silently in the last batch is looked at with the next sweep.
    """
    seen_s = asked.patience.seen_s
    since = _later(_last_seen(), targets.c.created_at)
    silent_at = _later(_last_seen() + asked.patience.offline_s, targets.c.deadline)
    is_of_deployment = of_runs(runs_of(asked.organization, asked.deployment))
    is_unfetched = and_(IS_AWAY, targets.c.status == "pending", targets.c.fetched_at.is_(None))
    ungranted, early = _ungranted(asked), _early_batches(connection, asked.newest)
    times = [
        _soonest(
            connection, asked.now, targets.c.deadline, is_of_deployment, _STANDS, awaits_verdict()
        ),
        _soonest(connection, asked.now, silent_at, is_of_deployment, ~_STANDS, IS_AWAY),
        _soonest(
            connection,
            asked.now,
            targets.c.granted_at + seen_s,
            is_of_deployment,
            is_unfetched,
        ),
    ]
    if early:
        is_early = targets.c.batch.in_(early)
        times.append(_soonest(connection, asked.now, since + seen_s, ungranted, is_early))
    if _waits_late(connection, asked.newest, early):
        times.append(asked.sweep_after)
    return min((time for time in times if time is not None), default=None)


def _waits_late(connection: Connection, run_seq: int, early: Sequence[int]) -> bool:
    """A device of the last batch, or one that goes back, waits for its grant."""
    counts = deployment_counts.c
    is_back = counts.reason == "RollingBack"
    waits = exists(
        select(counts.n).where(
            counts.run_seq == run_seq,
            counts.status == TargetState.PENDING.value,
            counts.is_granted.is_(False),
            or_(counts.batch.not_in(early), is_back),
        )
    )
    return bool(connection.execute(select(waits)).scalar_one())


def _soonest(
    connection: Connection,
    now: int,
    clock: ColumnElement[int | None],
    *where: ColumnElement[bool],
) -> int | None:
    found: int | None = connection.execute(
        select(func.min(clock))
        .select_from(targets)
        .join(device_state, device_state.c.device_seq == targets.c.device_seq)
        .where(clock > now, *where)
    ).scalar_one()
    return found
