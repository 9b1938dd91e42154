"""What people do to a Deployment that git does not want yet: pause it, resume it, give it up.

A pause stays with the Deployment, so that its run begins paused.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row

from towline.reconciler import unmerged
from towline.reconciler.acts import PAUSES, Act
from towline.reconciler.refusals import NotAllowed
from towline.reconciler.store import merge_requests, runs
from towline.reconciler.store.causes import because
from towline.reconciler.store.events import Event, record
from towline.reconciler.store.overrides import Person
from towline.schemas.states import VERBS, Verb

ALLOWED = (Verb.PAUSE, Verb.RESUME, Verb.CANCEL)
"""What needs no run."""


class WaitsForMerge(NotAllowed):
    """The verb needs a run, and there is none before the merge."""


@dataclass(frozen=True, slots=True)
class _Owner:
    """Whose hold it is; there is no run."""

    organization: str
    deployment: str
    seq: None = None


def act(connection: Connection, row: Row[Any], asked: Act, who: Person) -> None:
    """Carry out a verb; raises WaitsForMerge, or NotAllowed when the state does not allow it."""
    status, _ = unmerged.state(connection, row, who.now)
    verbs = [verb for verb in ALLOWED if status in VERBS[verb]]
    allowed = ", ".join(verbs) or "nothing; it was cancelled before its merge"
    if asked.verb not in ALLOWED and verbs:
        words = f"{asked.verb} is not allowed: {unmerged.waits_for(row)}; allowed: {allowed}"
        raise WaitsForMerge(words)
    if asked.verb not in verbs:
        raise NotAllowed(f"{asked.verb} is not allowed while it is {status}; allowed: {allowed}")
    because(connection, f"{asked.verb} by {who.name}", who.now)
    match asked.verb:
        case Verb.PAUSE:
            _pause(connection, row, asked, who)
        case Verb.RESUME:
            runs.remove_holds(connection, row.organization, row.name, *PAUSES)
        case Verb.CANCEL:
            merge_requests.cancel(connection, row.organization, row.id)
    event = Event(
        f"verb.{asked.verb}",
        deployment=row.name,
        run=row.id,
        reason=who.reason[:50],
        message=who.reason,
    )
    record(connection, row.organization, who.now, event)


def _pause(connection: Connection, row: Row[Any], asked: Act, who: Person) -> None:
    # One that has run out and was not swept yet must not stand beside the new one.
    runs.remove_holds(connection, row.organization, row.name, "PausedByUser")
    hold = {
        "reason": "PausedByUser",
        "message": f"{who.name}: {who.reason}" if who.reason else who.name,
        "author": who.name,
        "since": who.now,
        "until": None if asked.pause_s is None else who.now + asked.pause_s,
    }
    owner: Any = _Owner(row.organization, row.name)
    runs.add_hold(connection, owner, hold, stays=True)
