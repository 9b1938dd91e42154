"""What people do to runs: the verbs, checked against the table of states.

An act is laid over git and recorded with its author and reason; the next pass acts on it. Git is
never edited.
"""

from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, and_, insert, or_, select, update

from towline.reconciler.apply import end_run, record_for, settle
from towline.reconciler.store import dirt, grants, runs
from towline.reconciler.store import tables as t
from towline.reconciler.store.engine import Store
from towline.reconciler.store.events import Event, record
from towline.reconciler.store.targets import move
from towline.schemas.states import PASSED_BATCHES, VERBS, BatchState, RunState, TargetState, Verb

GATES = ("ThresholdNotMet", "NoEvidence")
PAUSES = ("PausedByUser", "PausedInGit")


class NotAllowed(Exception):
    """The state does not allow the verb; the text says what is allowed (409)."""


class Unknown(Exception):
    """There is no such run (404)."""


def act(
    store: Store,
    organization: str,
    run_id: UUID,
    verb: Verb,
    *,
    author: str,
    reason: str,
    accept: bool = False,
    now: int,
) -> set[int]:
    """Carry out a verb; returns the devices whose documents change.

    Raises NotAllowed or Unknown; nothing changed then.
    """
    with store.write() as connection:
        run = _find(connection, organization, run_id)
        _check(connection, run, verb)
        touched = _carry_out(connection, run, verb, author, reason, accept, now)
        cause = f"{verb} by {author}"
        event = Event(f"verb.{verb}", reason=reason[:50], message=reason, cause=cause)
        record_for(connection, run, event, now)
        settle(connection, _find(connection, organization, run_id), now)
        dirt.mark(connection, organization, run.deployment)
    return touched


def _find(connection: Connection, organization: str, run_id: UUID) -> Row[Any]:
    row = connection.execute(
        select(t.runs).where(t.runs.c.id == run_id, t.runs.c.organization == organization)
    ).first()
    if row is None:
        raise Unknown(str(run_id))
    return row


def _check(connection: Connection, run: Row[Any], verb: Verb) -> None:
    status = RunState(run.status)
    if status not in VERBS[verb]:
        allowed = [str(v) for v, states in VERBS.items() if status in states]
        words = ", ".join(allowed) or "nothing; a finished run is final"
        raise NotAllowed(f"{verb} is not allowed while the run is {status}; allowed: {words}")
    newest = runs.newest_run(connection, run.organization, run.deployment)
    if newest is not None and newest.seq != run.seq:
        raise NotAllowed(f"a newer run of {run.deployment} took its place: {newest.id}")


def _carry_out(
    connection: Connection,
    run: Row[Any],
    verb: Verb,
    author: str,
    reason: str,
    accept: bool,
    now: int,
) -> set[int]:
    match verb:
        case Verb.START:
            _start(connection, run)
        case Verb.PAUSE:
            return _pause(connection, run, author, reason, now)
        case Verb.RESUME:
            _resume(connection, run, author, reason, accept, now)
        case Verb.CANCEL:
            cause = f"cancel by {author}"
            return end_run(
                connection, run, RunState.CANCELLED, "CancelledByUser", reason, now, cause
            )
        case Verb.RETRY:
            _retry(connection, run, author, reason, now)
    return set()


def _start(connection: Connection, run: Row[Any]) -> None:
    if run.reason == "WaitingForStatement":
        raise NotAllowed(run.message)
    connection.execute(update(t.runs).where(t.runs.c.seq == run.seq).values(start_requested=True))


def _pause(connection: Connection, run: Row[Any], author: str, reason: str, now: int) -> set[int]:
    connection.execute(
        insert(t.holds).values(
            organization=run.organization,
            deployment=run.deployment,
            run_seq=None,
            reason="PausedByUser",
            message=f"{author}: {reason}",
            author=author,
            since=now,
        )
    )
    return grants.withdraw_all(connection, run.seq)


def _resume(
    connection: Connection, run: Row[Any], author: str, reason: str, accept: bool, now: int
) -> None:
    held = {
        hold.reason for hold in runs.holds_of(connection, run.organization, run.deployment, run.seq)
    }
    gates = sorted(held.intersection(GATES))
    if gates and not accept and not held.intersection(PAUSES):
        raise NotAllowed(
            f"the run is held by {gates[0]}: `retry` tries the failed devices again,"
            " `resume --accept` sets their verdicts aside"
        )
    runs.remove_holds(connection, run.organization, run.deployment, *PAUSES)
    if "PausedInGit" in held:
        _override(connection, run, "paused", False, author, reason, now, over=True)
    if gates and accept:
        _accept(connection, run)
        _override(connection, run, "gate", "accept", author, reason, now)


def _gated_batch(connection: Connection, run: Row[Any]) -> Row[Any] | None:
    """The batch that a gate holds; None when no device was seen for the next one."""
    over = {state.value for state in PASSED_BATCHES}
    opened = runs.batches_of(connection, run.seq)
    return next((batch for batch in opened if batch.state not in over), None)


def _accept(connection: Connection, run: Row[Any]) -> None:
    """Verdicts so far are set aside; with no member left without one the batch is over."""
    runs.remove_holds(connection, run.organization, run.deployment, *GATES)
    batch = _gated_batch(connection, run)
    if batch is None:
        return
    in_batch = (t.targets.c.run_seq == run.seq, t.targets.c.batch == batch.number)
    is_passed = and_(
        t.targets.c.status == TargetState.COMPLETED.value, t.targets.c.verified_at.is_not(None)
    )
    is_verdict = or_(is_passed, t.targets.c.status.in_([state.value for state in _FAILED]))
    counts = t.targets.c.is_set_aside.is_(False)
    aside = connection.execute(
        update(t.targets).where(*in_batch, counts, is_verdict).values(is_set_aside=True)
    ).rowcount
    left = connection.execute(
        select(t.targets.c.device_seq)
        .where(*in_batch, counts, t.targets.c.status != TargetState.SKIPPED.value)
        .limit(1)
    ).first()
    # Whoever was set aside is not replaced: the batch is smaller by them.
    size = {"size": max(0, batch.size - aside)}
    if left is None:
        runs.change_batch(connection, run.seq, batch.number, BatchState.ACCEPTED, **size)
    elif batch.state == BatchState.FAILED.value:
        runs.change_batch(connection, run.seq, batch.number, BatchState.OPEN, **size)


_FAILED = (TargetState.FAILED, TargetState.ROLLED_BACK)


def _retry(connection: Connection, run: Row[Any], author: str, reason: str, now: int) -> None:
    """A held run tries its failed devices again; a final one gets the next run."""
    if run.status != RunState.PAUSED.value:
        _override(connection, run, "retry", True, author, reason, now)
        return
    if not runs.remove_holds(connection, run.organization, run.deployment, *GATES):
        raise NotAllowed("no gate holds the run; `resume` lifts a pause")
    _override(connection, run, "gate", "retry", author, reason, now)
    batch = _gated_batch(connection, run)
    if batch is not None:
        _reopen(connection, run, batch)


def _reopen(connection: Connection, run: Row[Any], batch: Row[Any]) -> None:
    """The batch's failed devices get their next attempt."""
    move(
        connection,
        run.seq,
        t.targets.c.batch == batch.number,
        _FAILED,
        TargetState.PENDING,
        reason="Selected",
        attempt=t.targets.c.attempt + 1,
        is_set_aside=False,
        granted_at=None,
        fetched_at=None,
        deadline=None,
        completed_at=None,
        verified_at=None,
        error_message=None,
    )
    if batch.state == BatchState.FAILED.value:
        runs.change_batch(connection, run.seq, batch.number, BatchState.OPEN)


def _override(
    connection: Connection,
    run: Row[Any],
    key: str,
    value: object,
    author: str,
    reason: str,
    now: int,
    over: object = None,
) -> None:
    connection.execute(
        insert(t.overrides).values(
            organization=run.organization,
            deployment=run.deployment,
            run_seq=run.seq,
            key=key,
            value=value,
            over=over,
            author=author,
            reason=reason,
            created_at=now,
        )
    )


def accept_commit(
    store: Store, organization: str, commit: str, *, author: str, reason: str, now: int
) -> None:
    """Let a held commit be applied at the next look; raises NotAllowed when it is not held."""
    with store.write() as connection:
        row = connection.execute(
            select(t.repositories).where(t.repositories.c.organization == organization)
        ).first()
        if row is None or row.held_commit is None or not row.held_commit.startswith(commit):
            held = row.held_commit if row and row.held_commit else "none"
            raise NotAllowed(f"commit {commit} is not held; held is: {held}")
        connection.execute(
            update(t.repositories)
            .where(t.repositories.c.organization == organization)
            .values(accepted_commit=row.held_commit)
        )
        event = Event(
            "repository.accepted",
            message=reason,
            cause=f"accept by {author}",
            commit=row.held_commit,
        )
        record(connection, organization, now, event)
