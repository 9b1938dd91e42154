"""The clocks of a Deployment's targets: which ran out, and when the next one will.

A target's clocks: its grant must be fetched within three poll intervals, its verdict must come
within deviceTimeout of the fetch, and one that is silent without a grant is deferred: in the last
batch after offline.after, before it after three poll intervals, as another takes its place.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Integer,
    Select,
    and_,
    bindparam,
    exists,
    literal_column,
    or_,
    select,
)

from towline.reconciler.store import counters, hints
from towline.reconciler.store.silence import (
    LAST_SEEN,
    NOT_LAST,
    UNGRANTED,
    Silence,
    batches_before_last,
    is_in,
)
from towline.reconciler.store.sweeps import sweep_s
from towline.reconciler.store.tables import (
    IS_AWAY,
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
    def unseen_since(self) -> int:
        """Who was not heard of since then is silent."""
        return self.now - self.patience.seen_s

    @property
    def named(self) -> dict[str, object]:
        """What the statements ask with."""
        now, patience = self.now, self.patience
        return {
            "of_organization": self.organization,
            "of_deployment": self.deployment,
            "newest": self.newest,
            "now": now,
            "seen_s": patience.seen_s,
            "offline_s": patience.offline_s,
            "unseen_since": self.unseen_since,
            "silent_since": now - patience.offline_s,
        }

    @property
    def sweep_after(self) -> int:
        """When after now."""
        return self.now + sweep_s(self.patience.offline_s) if self.is_sweep else self.next_sweep_at


LIMIT = 500
"""Of each kind of lapse at once."""

RUNS_OF_DEPLOYMENT = select(runs.c.seq).where(
    runs.c.organization == bindparam("of_organization"),
    runs.c.deployment == bindparam("of_deployment"),
)
"""The numbers of a Deployment's runs."""


def away(statement: Select[Any]) -> Select[Any]:
    """Finds the targets by the small index of those that hold a grant; SQLite must be told."""
    return hints.by("ix_targets_away", statement, targets)


def by_deadline(statement: Select[Any]) -> Select[Any]:
    """Finds the targets by the index of the clocks that run; SQLite must be told."""
    return hints.by("ix_targets_deadline", statement, targets)


def _by_who_goes_back(statement: Select[Any]) -> Select[Any]:
    return hints.by("ix_targets_back", statement, targets)


def awaits_verdict() -> ColumnElement[bool]:
    """Active, or completed and not verified yet."""
    return or_(
        targets.c.status.in_(_ACTIVE),
        and_(
            targets.c.status == TargetState.COMPLETED.value,
            targets.c.verified_at.is_(None),
        ),
    )


STANDS = targets.c.waits == ""
"""Its clock runs: it does not wait for a window or a lock."""

_IS_NEWEST = targets.c.run_seq == bindparam("newest", type_=Integer)
IS_DUE = targets.c.deadline <= bindparam("now")
IS_UNFETCHED = and_(targets.c.status == TargetState.PENDING, targets.c.fetched_at.is_(None))
"""Of one that holds a grant: it has not begun."""
IS_UNFETCHED_FOR_LONG = and_(
    IS_UNFETCHED, _IS_NEWEST, targets.c.granted_at <= bindparam("unseen_since")
)


def _lapsing(*where: ColumnElement[bool]) -> Select[Any]:
    return (
        select(targets.c.run_seq, targets.c.device_seq, targets.c.batch)
        .join(device_state, device_state.c.device_seq == targets.c.device_seq)
        .join(edge_devices, edge_devices.c.seq == targets.c.device_seq)
        .where(*where)
        .limit(LIMIT)
    )


# Statements are built once where they can be: each pass asks all of them.
_TIMED_OUT = by_deadline(
    _lapsing(
        targets.c.run_seq.in_(RUNS_OF_DEPLOYMENT),
        awaits_verdict(),
        targets.c.granted_at.is_not(None),
        # Whoever falls silent for long no longer says that it waits for a window or a lock.
        or_(STANDS, bindparam("silent_since") >= LAST_SEEN),
        IS_DUE,
    )
)
_UNPREPARED = by_deadline(
    _lapsing(
        _IS_NEWEST,
        targets.c.status == TargetState.PENDING.value,
        targets.c.granted_at.is_(None),
        targets.c.staged_at.is_(None),
        IS_DUE,
    )
)
_NOT_FETCHED = away(_lapsing(IS_AWAY, IS_UNFETCHED_FOR_LONG))
_GOES_BACK = targets.c.goes_back.is_(literal_column("true"))
_GOES_ANY_BACK = select(
    exists(_by_who_goes_back(select(targets.c.run_seq).where(_IS_NEWEST, _GOES_BACK)))
)


def lapsed(
    connection: Connection,
    asked: Asked,
    still_owned: ColumnElement[bool],
    early: Silence,
    *,
    is_any_due: bool,
    is_any_unfetched: bool,
) -> tuple[Lapsed, ...]:
    """At most 500 targets of each kind of lapse.

    `still_owned` is the manifest's filter over `edge_devices`. `is_any_due`: the deadline of a
    target is over. `is_any_unfetched`: a grant was not fetched for long.
    """
    found: list[Lapsed] = []
    statements = [*_of_granted(is_any_due=is_any_due, is_any_unfetched=is_any_unfetched)]
    statements += _of_waiting(connection, asked, still_owned, early)
    for lapse, statement in statements:
        rows = connection.execute(statement, asked.named)
        found += [Lapsed(run, device, batch, lapse) for run, device, batch in rows]
    return tuple(sorted(set(found), key=lambda each: (each.run_seq, each.device_seq)))


def _of_granted(*, is_any_due: bool, is_any_unfetched: bool) -> Iterator[tuple[Lapse, Select[Any]]]:
    if is_any_due:
        yield Lapse.TIMED_OUT, _TIMED_OUT
        yield Lapse.UNPREPARED, _UNPREPARED
    if is_any_unfetched:
        yield Lapse.NOT_FETCHED, _NOT_FETCHED


def _of_waiting(
    connection: Connection, asked: Asked, still_owned: ColumnElement[bool], early: Silence
) -> Iterator[tuple[Lapse, Select[Any]]]:
    if asked.is_recheck or asked.is_sweep:
        yield Lapse.LEFT, _lapsing(UNGRANTED, targets.c.goes_back.is_(False), ~still_owned)
    # Before the last batch a silent device is replaced at once.
    if early.heard_since is not None and early.heard_since <= asked.unseen_since:
        is_early = is_in(early.batches)
        yield Lapse.OFFLINE, _lapsing(UNGRANTED, still_owned, is_early, _silent("unseen_since"))
    if asked.is_sweep:
        is_late = or_(targets.c.batch.not_in(NOT_LAST), targets.c.goes_back)
        may_wait = or_(still_owned, targets.c.goes_back)
        yield Lapse.OFFLINE, _lapsing(UNGRANTED, may_wait, is_late, _silent("silent_since"))
    standings = counters.of_run(connection, asked.newest)
    deferred = {each.batch for each in standings if each.reason == "OfflineDeferred"}
    if deferred - batches_before_last(connection, asked.newest):
        yield Lapse.RETURNED, _returned(_may_enter(still_owned))
    if deferred and connection.execute(_GOES_ANY_BACK, asked.named).scalar_one():
        yield Lapse.RETURNED, _by_who_goes_back(_returned(_GOES_BACK))


def _silent(since: str) -> ColumnElement[bool]:
    return and_(targets.c.created_at <= bindparam(since), bindparam(since) >= LAST_SEEN)


def _may_enter(still_owned: ColumnElement[bool]) -> ColumnElement[bool]:
    takes = select(runs.c.seq).where(
        runs.c.seq == bindparam("newest"),
        runs.c.goes_back == "",
        runs.c.status.in_(("in_progress", "completed")),
    )
    return and_(targets.c.batch.not_in(NOT_LAST), targets.c.run_seq.in_(takes), still_owned)


def _returned(may: ColumnElement[bool]) -> Select[Any]:
    return _lapsing(
        targets.c.run_seq == bindparam("newest"),
        targets.c.status == TargetState.SKIPPED.value,
        targets.c.reason == "OfflineDeferred",
        bindparam("unseen_since") <= LAST_SEEN,
        may,
        has_no_other_active(),
    )
