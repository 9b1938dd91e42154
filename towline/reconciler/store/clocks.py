"""The clocks of a Deployment's targets: which ran out, and when the next one will.

A target's clocks: its grant must be fetched within three poll intervals, its verdict must come
within deviceTimeout of the fetch, and one that is silent without a grant is deferred: in the last
batch after offline.after, before it after three poll intervals, as another takes its place.
"""

from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import ColumnElement, Connection, and_, case, func, or_, select

from towline.reconciler.store.tables import batches, device_state, edge_devices, runs, targets
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


def lapsed(
    connection: Connection,
    organization: str,
    deployment: str,
    newest: int,
    patience: Patience,
    now: int,
    still_owned: ColumnElement[bool],
    limit: int = 500,
) -> tuple[Lapsed, ...]:
    """At most `limit` targets of each kind of lapse, `newest` being the newest run.

    `still_owned` is the manifest's filter over `edge_devices`.
    """
    of_deployment = (runs.c.organization == organization, runs.c.deployment == deployment)
    found: list[Lapsed] = []
    for lapse, condition in _conditions(newest, patience, now, still_owned).items():
        rows = connection.execute(
            select(targets.c.run_seq, targets.c.device_seq, targets.c.batch)
            .join(runs, runs.c.seq == targets.c.run_seq)
            .join(device_state, device_state.c.device_seq == targets.c.device_seq)
            .join(edge_devices, edge_devices.c.seq == targets.c.device_seq)
            .outerjoin(
                batches,
                and_(batches.c.run_seq == targets.c.run_seq, batches.c.number == targets.c.batch),
            )
            .where(*of_deployment, condition)
            .order_by(targets.c.device_seq)
            .limit(limit)
        )
        found += [Lapsed(run, device, batch, lapse) for run, device, batch in rows]
    return tuple(found)


def _conditions(
    newest: int, patience: Patience, now: int, still_owned: ColumnElement[bool]
) -> dict[Lapse, ColumnElement[bool]]:
    pending = targets.c.status == TargetState.PENDING.value
    is_newest = targets.c.run_seq == newest
    last_seen = func.coalesce(device_state.c.last_seen, 0)
    return {
        Lapse.LEFT: and_(
            is_newest,
            pending,
            targets.c.granted_at.is_(None),
            targets.c.goes_back.is_(False),
            ~still_owned,
        ),
        Lapse.TIMED_OUT: and_(
            awaits_verdict(),
            targets.c.granted_at.is_not(None),
            targets.c.waits == "",
            targets.c.deadline <= now,
        ),
        Lapse.UNPREPARED: and_(
            is_newest,
            pending,
            targets.c.granted_at.is_(None),
            targets.c.staged_at.is_(None),
            targets.c.deadline <= now,
        ),
        Lapse.NOT_FETCHED: and_(
            is_newest,
            pending,
            targets.c.granted_at <= now - patience.seen_s,
            targets.c.fetched_at.is_(None),
        ),
        Lapse.OFFLINE: and_(
            is_newest,
            pending,
            targets.c.granted_at.is_(None),
            still_owned,
            or_(
                and_(
                    or_(batches.c.is_last, targets.c.goes_back),
                    targets.c.created_at <= now - patience.offline_s,
                    last_seen <= now - patience.offline_s,
                ),
                # Before the last batch a silent device is replaced at once.
                and_(
                    batches.c.is_last.is_(False),
                    targets.c.goes_back.is_(False),
                    targets.c.created_at <= now - patience.seen_s,
                    last_seen <= now - patience.seen_s,
                ),
            ),
        ),
        Lapse.RETURNED: and_(
            is_newest,
            targets.c.status == TargetState.SKIPPED.value,
            targets.c.reason == "OfflineDeferred",
            last_seen >= now - patience.seen_s,
            or_(
                targets.c.goes_back,
                and_(
                    batches.c.is_last,
                    runs.c.goes_back == "",
                    runs.c.status.in_(("in_progress", "completed")),
                    still_owned,
                ),
            ),
            has_no_other_active(),
        ),
    }


def awaits_verdict() -> ColumnElement[bool]:
    """Active, or completed and not verified yet."""
    return or_(
        targets.c.status.in_(_ACTIVE),
        and_(
            targets.c.status == TargetState.COMPLETED.value,
            targets.c.verified_at.is_(None),
        ),
    )


def next_clock(
    connection: Connection,
    organization: str,
    deployment: str,
    newest: int,
    patience: Patience,
    now: int,
) -> int | None:
    """The next time after `now` at which a clock of a target can run out."""
    last_seen = func.coalesce(device_state.c.last_seen, 0)
    since = case((last_seen > targets.c.created_at, last_seen), else_=targets.c.created_at)
    waits_s = case((batches.c.is_last, patience.offline_s), else_=patience.seen_s)
    pending = (targets.c.run_seq == newest, targets.c.status == TargetState.PENDING.value)
    clocks = {
        targets.c.deadline: (awaits_verdict(), targets.c.waits == ""),
        targets.c.granted_at + patience.seen_s: (*pending, targets.c.fetched_at.is_(None)),
        since + waits_s: (*pending, targets.c.granted_at.is_(None)),
    }
    times = [
        connection.execute(
            select(func.min(clock))
            .select_from(targets)
            .join(runs, runs.c.seq == targets.c.run_seq)
            .join(device_state, device_state.c.device_seq == targets.c.device_seq)
            .outerjoin(
                batches,
                and_(batches.c.run_seq == targets.c.run_seq, batches.c.number == targets.c.batch),
            )
            .where(
                runs.c.organization == organization,
                runs.c.deployment == deployment,
                clock > now,
                *where,
            )
        ).scalar_one()
        for clock, where in clocks.items()
    ]
    return min((time for time in times if time is not None), default=None)
