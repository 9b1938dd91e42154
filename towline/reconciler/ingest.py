"""Taking in what devices report, inside one transaction that the acknowledgement waits for.

A report moves its target by the table of reported moves, updates what the device runs, and marks
the Deployments that must be looked at. Repeats and old numbers are dropped without harm.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, Select, and_, bindparam, or_, select

from towline.reconciler import restored, waiting
from towline.reconciler.known_before import known_before
from towline.reconciler.store import dirt, grants, inventory, outbox, reporters
from towline.reconciler.store import tables as t
from towline.reconciler.store.among import among
from towline.reconciler.store.causes import because
from towline.reconciler.store.events import Event, record
from towline.reconciler.store.given import among_given
from towline.reconciler.store.reporters import Reporter
from towline.reconciler.store.targets import change, move_one
from towline.reconciler.verification import Completions, compare_versions, completed_after_all
from towline.schemas.reports import Attempt, Heard, Installed, Report
from towline.schemas.states import ACTIVE_TARGETS, LATE_MOVES, REPORTED_MOVES, TargetState
from towline.schemas.windows import is_zone

ENDED = (TargetState.COMPLETED, TargetState.FAILED, TargetState.ROLLED_BACK)
Said = Sequence[tuple[int, Report]]
"""Reports, each with the device that it comes from."""
_Taken = tuple[Reporter, Report]
_LATE_REASONS = ("Superseded", "Cancelled", "TimedOut")


def commit_reports(connection: Connection, now: int, reports: Said) -> set[int]:
    """Take in reports in order; returns the devices whose documents may have changed."""
    return take_in(connection, now, reports).touched


@dataclass(frozen=True, slots=True)
class TakenIn:
    """What came of reports."""

    touched: set[int]
    """The devices whose documents may have changed."""
    heard: Mapping[int, Heard]
    """Up to where each device is heard now."""


def take_in(connection: Connection, now: int, reports: Said, silent_since: int = 0) -> TakenIn:
    """Take in reports in order; a device that was not heard of since `silent_since` is back."""
    because(connection, "report", now)
    before = known_before(connection, {device_seq for device_seq, _ in reports})
    known = before.reporters
    forgotten = [(known[seq], said) for seq, said in reports if known[seq].is_ahead(said)]
    taken = [(known[seq], report) for seq, report in reports if known[seq].take(report)]
    _take_versions(connection, now, taken, before.running)
    intake = _Intake(connection, now, before.completions)
    for reporter, report in taken:
        intake.take(reporter, report)
    heard = {reporter.seq: reporter for reporter, _ in taken}
    for organization in reporters.returned(heard.values(), silent_since):
        # What waits for who was silent goes on: once this is kept, no poll tells of a return.
        dirt.mark_all(connection, organization)
    reporters.keep(connection, heard.values(), now)
    for reporter, report in forgotten:
        intake.touched |= restored.notice(connection, reporter, report, now)
    outbox.ring(connection, intake.touched)
    return TakenIn(intake.touched, {seq: reporter.heard for seq, reporter in known.items()})


def _take_versions(
    connection: Connection,
    now: int,
    taken: Sequence[_Taken],
    known: dict[tuple[int, str], Installed],
) -> None:
    """What the devices run: of most reports it is no news."""
    told: list[inventory.Running] = []
    organizations = set()
    for reporter, report in taken:
        for component, installed in report.versions.items():
            key = (reporter.seq, component)
            if known.get(key) != installed:
                known[key] = installed
                told.append((*key, installed))
                organizations.add(reporter.organization)
    inventory.keep_running(connection, told, now)
    for organization in sorted(organizations):
        dirt.mark_all(connection, organization)


def mark_fetched(connection: Connection, now: int, served: Collection[tuple[int, str]]) -> None:
    """Devices were served a document with work for these components: deviceTimeout counts from now.

    Preparing has one of its own, until the release lies staged.
    """
    if not served:
        return
    devices = {device for device, _ in served}
    rows = connection.execute(_not_fetched(connection.dialect.name), {"devices": devices}).all()
    begun: dict[tuple[int, str], list[int]] = {}
    for run_seq, device_seq, component, is_granted in rows:
        if (device_seq, component) in served:
            clock = "fetched_at" if is_granted else "prepared_at"
            begun.setdefault((run_seq, clock), []).append(device_seq)
    for (run_seq, clock), of_run in begun.items():
        deadline = now + _device_timeout_s(connection, run_seq)
        own = among(connection, t.targets.c.device_seq, of_run)
        change(connection, run_seq, own, **{clock: now}, deadline=deadline)
        outbox.wake(connection)


def _device_timeout_s(connection: Connection, run_seq: int) -> int:
    offer = connection.execute(_OFFER, {"of_run": run_seq}).scalar_one()
    return int(offer["deviceTimeout"])


_OFFER = select(t.runs.c.offer).where(t.runs.c.seq == bindparam("of_run"))


@lru_cache
def _not_fetched(engine: str) -> Select[Any]:
    key = (t.targets.c.run_seq, t.targets.c.device_seq, t.targets.c.component)
    return (
        select(*key, t.targets.c.granted_at.is_not(None))
        .join(t.runs, t.runs.c.seq == t.targets.c.run_seq)
        .where(
            among_given(engine, t.targets.c.device_seq, "devices"),
            t.targets.c.status.in_(_ACTIVE),
            or_(_IS_FETCHED_FIRST, _IS_PREPARED_FIRST),
        )
    )


_ACTIVE = [state.value for state in ACTIVE_TARGETS]
_IS_FETCHED_FIRST = and_(t.targets.c.granted_at.is_not(None), t.targets.c.fetched_at.is_(None))
_IS_PREPARED_FIRST = and_(
    t.targets.c.granted_at.is_(None),
    t.targets.c.prepared_at.is_(None),
    t.targets.c.staged_at.is_(None),
    t.targets.c.goes_back.is_(False),
    t.runs.c.status.in_(("in_progress", "paused", "completed")),
)


class _Intake:
    """Judges the reports of one transaction, one after the other."""

    def __init__(self, connection: Connection, now: int, completions: Completions) -> None:
        self._connection = connection
        self._now = now
        self._completions = completions
        self.touched: set[int] = set()
        """The devices whose documents may have changed."""

    def take(self, reporter: Reporter, report: Report) -> None:
        """Take one in."""
        self._take_zone(reporter, report.facts.get("timeZone"))
        if report.rejected:
            _note_refusal(self._connection, self._now, reporter, report)
        own = None
        if report.attempt is not None:
            own = _find(self._connection, reporter.seq, report.attempt)
            if own is not None:
                self._completions.forget(reporter.seq)
                if _move(self._connection, self._now, reporter, own, report.attempt):
                    self.touched.add(reporter.seq)
        if report.versions:
            compare_versions(
                self._connection, self._now, reporter, report.versions, own, self._completions
            )

    def _take_zone(self, reporter: Reporter, zone: object) -> None:
        if not isinstance(zone, str) or zone == reporter.told_zone or not is_zone(zone):
            return  # what is no IANA name is no word about the zone
        reporter.told_zone = zone
        if inventory.set_time_zone(self._connection, reporter.seq, zone):
            self.touched.add(reporter.seq)


def _note_refusal(connection: Connection, now: int, reporter: Reporter, report: Report) -> None:
    event = Event(
        "document.refused",
        device=reporter.slug,
        reason=report.rejected,
        message="the device keeps what runs",
    )
    record(connection, reporter.organization, now, event)
    outbox.wake(connection)


def _find(connection: Connection, device_seq: int, attempt: Attempt) -> Row[Any] | None:
    """The target that the report speaks of, if this attempt is the one in force."""
    try:
        run_id = UUID(attempt.deployment)
    except ValueError:
        return None
    of = {"of_run": run_id, "of_device": device_seq, "of_attempt": attempt.attempt}
    return connection.execute(_OF_ATTEMPT, of).first()


_OF_ATTEMPT = (
    select(
        t.targets,
        t.runs.c.deployment,
        t.runs.c.id.label("run_id"),
        t.runs.c.organization,
        t.runs.c.offer,
        t.runs.c.goes_back.label("run_goes_back"),
    )
    .join(t.runs, t.runs.c.seq == t.targets.c.run_seq)
    .where(
        t.runs.c.id == bindparam("of_run", type_=t.runs.c.id.type),
        t.targets.c.device_seq == bindparam("of_device"),
        t.targets.c.attempt == bindparam("of_attempt"),
    )
)


def may_move(target: Row[Any], after: TargetState) -> bool:
    """Whether a report may bring a target there; what may not is no news, or comes too late."""
    before = TargetState(target.status)
    if after in REPORTED_MOVES[before]:
        # A download whose grant was taken back meanwhile counts for nothing; an install does.
        return target.granted_at is not None or after is not TargetState.DOWNLOADING
    is_late = target.granted_at is not None and target.reason in _LATE_REASONS
    return is_late and after in LATE_MOVES.get(before, ())


def _move(
    connection: Connection, now: int, reporter: Reporter, target: Row[Any], attempt: Attempt
) -> bool:
    """Move the target; True when it ended, False for a repeat or a step backwards."""
    if attempt.state is TargetState.PENDING:
        waiting.note(connection, now, reporter, target, attempt)
        return False
    if target.goes_back:
        attempt = _way_back(target, attempt)
    if not may_move(target, attempt.state):
        return False
    values: dict[str, Any] = {"reason": attempt.reason, "progress": attempt.progress}
    if attempt.state in ENDED:
        ended_at = now
        if attempt.state is TargetState.COMPLETED:
            ended_at = completed_after_all(connection, target, now)
        values |= {"completed_at": ended_at, "error_message": attempt.message or None}
    values |= _clocks(now, target, attempt)
    move_one(connection, target, attempt.state, **values)
    _after_move(connection, now, reporter, target, attempt)
    return attempt.state in ENDED


def _way_back(target: Row[Any], attempt: Attempt) -> Attempt:
    """A device that went back says so, or that it runs the former release already."""
    if attempt.state in (TargetState.COMPLETED, TargetState.ROLLED_BACK):
        reason = target.run_goes_back or "RolledBackByUser"
        return replace(attempt, state=TargetState.ROLLED_BACK, reason=reason)
    return attempt


def _clocks(now: int, target: Row[Any], attempt: Attempt) -> dict[str, Any]:
    """Grant and deadline of a target that is at work.

    One whose grant was taken back while it began to install holds its slot again; a late success
    has deviceTimeout once more to be verified. What stood still while it waited goes on.
    """
    deadline = now + target.offer["deviceTimeout"]
    if target.granted_at is None:
        if attempt.state is TargetState.FAILED:
            return {}  # a preparation that failed held no slot
        return {"granted_at": now, "fetched_at": now, "started_at": now, "deadline": deadline}
    if target.fetched_at is None or target.reason == "TimedOut":
        return {"fetched_at": target.fetched_at or now, "deadline": deadline}
    return waiting.over(now, target)


def _after_move(
    connection: Connection, now: int, reporter: Reporter, target: Row[Any], attempt: Attempt
) -> None:
    if attempt.state in (TargetState.FAILED, TargetState.ROLLED_BACK):
        grants.note_verdict(connection, target.run_seq, [reporter.seq], now)
    is_bad = attempt.state is TargetState.ROLLED_BACK or attempt.reason in (
        "NoPrevious",
        "RollbackFailed",
    )
    if is_bad and not target.goes_back:
        inventory.set_known_bad(connection, reporter.seq, target.run_seq)
    dirt.mark(connection, reporter.organization, target.deployment)
    event = Event(
        f"device.{attempt.state}",
        deployment=target.deployment,
        run=target.run_id,
        device=reporter.slug,
        reason=attempt.reason,
        message=attempt.message,
        commit=attempt.commit,
    )
    record(connection, reporter.organization, now, event)
