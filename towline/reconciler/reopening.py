"""What a person does to a failed gate: retry its failed devices, or set their verdicts aside."""

from typing import Any

from sqlalchemy import Connection, Row, and_, or_, select

from towline.reconciler.refusals import NotAllowed
from towline.reconciler.store import approvals, runs, ways_back
from towline.reconciler.store import tables as t
from towline.reconciler.store.overrides import Person, lay_override
from towline.reconciler.store.targets import TargetGroup, change
from towline.reconciler.verdict import Counts, counts_as
from towline.schemas.states import PASSED_BATCHES, BatchState, RunState, TargetState

GATES = ("ThresholdNotMet", "AnalysisFailed", "NoEvidence")
_FAILED = (TargetState.FAILED, TargetState.ROLLED_BACK)


def retry(connection: Connection, run: Row[Any], who: Person) -> set[int]:
    """A held run tries its failed devices again; a final one gets the next run.

    Returns the devices whose documents change.
    """
    if run.status != RunState.PAUSED.value:
        lay_override(connection, run, "retry", True, who)
        return set()
    if not runs.remove_holds(connection, run.organization, run.deployment, *GATES):
        raise NotAllowed("no gate holds the run; `resume` lifts a pause")
    lay_override(connection, run, approvals.GATE_KEY, approvals.RETRY, who)
    batch = _gated_batch(connection, run)
    return set() if batch is None else _reopen(connection, run, batch)


def _gated_batch(connection: Connection, run: Row[Any]) -> Row[Any] | None:
    """The batch that a gate holds; None when no device was seen for the next one."""
    over = {state.value for state in PASSED_BATCHES}
    opened = runs.batches_of(connection, run.seq)
    return next((batch for batch in opened if batch.state not in over), None)


def _reopen(connection: Connection, run: Row[Any], batch: Row[Any]) -> set[int]:
    """The batch's failed devices get their next attempt, and its figures are asked anew."""
    chosen = t.targets.c.device_seq.in_(_to_try_again(connection, run, batch))
    again = ways_back.attempt_again(connection, run.seq, chosen, _FAILED)
    if batch.state == BatchState.FAILED.value:
        runs.change_batch(
            connection, run.seq, batch.number, BatchState.OPEN, analysis_from=None, ended_at=None
        )
    return again | _pending(connection, run, batch)


def _to_try_again(connection: Connection, run: Row[Any], batch: Row[Any]) -> list[int]:
    """Members that failed, and of those that were excused so many as there is room for.

    Whom a person sent back stays there until it is tried again by name. safeMode's batch is for
    one device, whoever failed there.
    """
    members = connection.execute(
        select(t.targets)
        .where(
            t.targets.c.run_seq == run.seq,
            t.targets.c.batch == batch.number,
            t.targets.c.goes_back.is_(False),
            t.targets.c.is_set_aside.is_(False),
        )
        .order_by(t.targets.c.position)
    ).all()
    counted = [(member, counts_as(_group(member))) for member in members]
    failed = [member.device_seq for member, kind in counted if kind is Counts.FAILED]
    ended = {state.value for state in _FAILED}
    excused = [
        member.device_seq
        for member, kind in counted
        if kind is Counts.EXCUSED and member.status in ended
    ]
    taken = sum(kind is not Counts.EXCUSED for _, kind in counted)
    chosen = failed + excused[: max(0, batch.size - taken)]
    return chosen[:1] if batch.is_alone else chosen


def _group(member: Row[Any]) -> TargetGroup:
    return TargetGroup(
        TargetState(member.status),
        member.reason,
        is_granted=member.granted_at is not None,
        is_verified=member.verified_at is not None,
        n=1,
    )


def _pending(connection: Connection, run: Row[Any], batch: Row[Any]) -> set[int]:
    """Members that a failed batch keeps from preparing, and an open one lets."""
    return set(
        connection.execute(
            select(t.targets.c.device_seq).where(
                t.targets.c.run_seq == run.seq,
                t.targets.c.batch == batch.number,
                t.targets.c.status == TargetState.PENDING.value,
            )
        ).scalars()
    )


def accept(connection: Connection, run: Row[Any], who: Person) -> set[int]:
    """Verdicts so far are set aside; with no member left without one the batch is over.

    Returns the devices whose documents change.
    """
    lay_override(connection, run, approvals.GATE_KEY, "accept", who)
    runs.remove_holds(connection, run.organization, run.deployment, *GATES)
    batch = _gated_batch(connection, run)
    if batch is None:
        return set()
    in_batch = t.targets.c.batch == batch.number
    is_passed = and_(
        t.targets.c.status == TargetState.COMPLETED.value, t.targets.c.verified_at.is_not(None)
    )
    is_verdict = or_(is_passed, t.targets.c.status.in_([state.value for state in _FAILED]))
    counts = t.targets.c.is_set_aside.is_(False)
    aside = change(connection, run.seq, and_(in_batch, counts, is_verdict), is_set_aside=True)
    left = connection.execute(
        select(t.targets.c.device_seq)
        .where(
            t.targets.c.run_seq == run.seq,
            in_batch,
            counts,
            t.targets.c.status != TargetState.SKIPPED.value,
        )
        .limit(1)
    ).first()
    # Whoever was set aside is not replaced: the batch is smaller by them.
    size = {"size": max(0, batch.size - len(aside))}
    if left is None:
        runs.change_batch(connection, run.seq, batch.number, BatchState.ACCEPTED, **size)
    elif batch.state == BatchState.FAILED.value:
        begun_anew = {"analysis_from": None, "ended_at": None}
        runs.change_batch(connection, run.seq, batch.number, BatchState.OPEN, **size, **begun_anew)
    return _pending(connection, run, batch)
