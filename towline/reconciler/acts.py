"""What people do to runs: the verbs, checked against the table of states.

An act is laid over git and recorded with its author and reason; the next pass acts on it. Git is
never edited.
"""

from dataclasses import asdict, dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, select, update

from towline.reconciler import approving, reopening
from towline.reconciler.holding import CLEARED_BY
from towline.reconciler.refusals import NotAllowed, Unknown
from towline.reconciler.reopening import GATES
from towline.reconciler.run_changes import end_run, record_for, settle, turn_back
from towline.reconciler.store import dirt, grants, outbox, runs
from towline.reconciler.store import tables as t
from towline.reconciler.store.causes import because
from towline.reconciler.store.engine import Store
from towline.reconciler.store.events import Event, record
from towline.reconciler.store.overrides import Person, lay_override
from towline.schemas.states import VERBS, RunState, Verb

__all__ = ["Act", "NotAllowed", "Unknown", "accept_commit", "act"]

PAUSES = ("PausedByUser", "PausedInGit")


@dataclass(frozen=True, slots=True)
class Act:
    """One verb with its options."""

    verb: Verb
    accept: bool = False
    """resume: set the verdicts of a failed gate aside."""
    pause_s: int | None = None
    """pause: it ends by itself after so long."""
    through_windows: bool = False
    """approve: a return need not wait for its devices' windows."""
    beside_holds: bool = False
    """pause: also where other holds stand, and over a run that is over and still heals."""

    def options(self) -> dict[str, Any]:
        """What was asked beside the verb, for the record."""
        return {name: value for name, value in asdict(self).items() if value and name != "verb"}


def act(
    store: Store,
    organization: str,
    run_id: UUID,
    asked: Act | Verb,
    *,
    author: str,
    reason: str,
    now: int,
) -> set[int]:
    """Carry out a verb; returns the devices whose documents change.

    Raises NotAllowed or Unknown; nothing changed then.
    """
    asked = asked if isinstance(asked, Act) else Act(asked)
    who = Person(author, reason, now)
    with store.write() as connection:
        because(connection, f"{asked.verb} by {author}", now)
        run = find_run(connection, organization, run_id)
        _check(run, asked, _held(connection, run))
        check_newest(connection, run)
        touched = _carry_out(connection, run, asked, who)
        event = Event(f"verb.{asked.verb}", reason=reason[:50], message=reason)
        record_for(connection, run, event, now=now)
        settle(connection, find_run(connection, organization, run_id), now)
        dirt.mark(connection, organization, run.deployment)
        outbox.ring(connection, touched)
    return touched


def find_run(connection: Connection, organization: str, run_id: UUID) -> Row[Any]:
    """The run's row; raises Unknown."""
    row = connection.execute(
        select(t.runs).where(t.runs.c.id == run_id, t.runs.c.organization == organization)
    ).first()
    if row is None:
        raise Unknown(str(run_id))
    return row


def _check(run: Row[Any], asked: Act, held: set[str]) -> None:
    """By the table of verbs; a pause that was laid beside it can be lifted there, too."""
    status, verb = RunState(run.status), asked.verb
    is_pause_beside = asked.beside_holds and "PausedByUser" not in held
    beside = {
        Verb.PAUSE: is_pause_beside and status in (RunState.PAUSED, RunState.COMPLETED),
        Verb.RESUME: status is RunState.COMPLETED and bool(held.intersection(PAUSES)),
    }
    if status not in VERBS[verb] and not beside.get(verb):
        allowed = [str(v) for v, states in VERBS.items() if status in states]
        words = ", ".join(allowed) or "nothing; a finished run is final"
        raise NotAllowed(f"{verb} is not allowed while the run is {status}; allowed: {words}")


def check_newest(connection: Connection, run: Row[Any]) -> None:
    """Raises NotAllowed when a newer run took the run's place."""
    newest = runs.newest_run(connection, run.organization, run.deployment)
    if newest is not None and newest.seq != run.seq:
        raise NotAllowed(f"a newer run of {run.deployment} took its place: {newest.id}")


def _carry_out(connection: Connection, run: Row[Any], asked: Act, who: Person) -> set[int]:
    match asked.verb:
        case Verb.START:
            _start(connection, run)
        case Verb.PAUSE:
            return _pause(connection, run, asked, who)
        case Verb.RESUME:
            return _resume(connection, run, asked, who)
        case Verb.CANCEL:
            cancelled = RunState.CANCELLED
            return end_run(connection, run, cancelled, "CancelledByUser", who.reason, who.now)
        case Verb.RETRY:
            return reopening.retry(connection, run, who)
        case Verb.APPROVE:
            return approving.approve(connection, run, asked.through_windows, who)
        case Verb.ROLLBACK:
            return _roll_back(connection, run, who)
    return set()


def _start(connection: Connection, run: Row[Any]) -> None:
    if run.reason == "WaitingForStatement":
        raise NotAllowed(run.message)
    # Until the next pass says more, it is not said to wait for what has just come.
    runs.set_on_run(connection, run.seq, start_requested=True, reason="", message="")


def _pause(connection: Connection, run: Row[Any], asked: Act, who: Person) -> set[int]:
    hold = {
        "reason": "PausedByUser",
        "message": f"{who.name}: {who.reason}" if who.reason else who.name,
        "author": who.name,
        "since": who.now,
        "until": None if asked.pause_s is None else who.now + asked.pause_s,
    }
    runs.add_hold(connection, run, hold, stays=True)
    return grants.withdraw_all(connection, run.seq)


def _held(connection: Connection, run: Row[Any]) -> set[str]:
    held = runs.holds_of(connection, run.organization, run.deployment, run.seq)
    return {hold.reason for hold in held}


def _resume(connection: Connection, run: Row[Any], asked: Act, who: Person) -> set[int]:
    held = _held(connection, run)
    gates = sorted(held.intersection(GATES))
    lifted = held.intersection((*PAUSES, "DeadlineExceeded"))
    if gates and not asked.accept and not lifted:
        raise NotAllowed(
            f"the run is held by {gates[0]}: `retry` tries the failed devices again,"
            " `resume --accept` sets their verdicts aside"
        )
    if not gates and not lifted:
        told = ", ".join(f"{each} (cleared by: {CLEARED_BY[each]})" for each in sorted(held))
        raise NotAllowed(f"resume cannot lift what holds the run: {told}")
    _lift_pauses(connection, run, who)
    if "DeadlineExceeded" in held:
        runs.remove_holds(connection, run.organization, run.deployment, "DeadlineExceeded")
        runs.set_on_run(connection, run.seq, progress_from=who.now)
    if gates and asked.accept:
        return reopening.accept(connection, run, who)
    return set()


def _lift_pauses(connection: Connection, run: Row[Any], who: Person) -> None:
    lifted = runs.remove_holds(connection, run.organization, run.deployment, *PAUSES)
    if "PausedInGit" in lifted:
        lay_override(connection, run, "paused", False, who, over=True)


def _roll_back(connection: Connection, run: Row[Any], who: Person) -> set[int]:
    if run.started_at is None:
        raise NotAllowed(
            "the run has not begun: there is nothing to go back from; `cancel` ends it"
        )
    if run.goes_back:
        raise NotAllowed("the run is going back already")
    _lift_pauses(connection, run, who)
    return turn_back(connection, run, "RolledBackByUser", who.now)


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
        outbox.tell_repository(connection, organization)
