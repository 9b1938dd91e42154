"""What a page of a Deployment is about: a run, or one that waits for its merge and has none."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row

from towline.reconciler import showing, unmerged
from towline.reconciler.consequences import consequences
from towline.reconciler.server.dashboard.offered import (
    offered,
    unmerged_offered,
    what_it_does,
    what_it_does_unmerged,
)
from towline.reconciler.server.desk import Declined, Desk
from towline.reconciler.server.sight import sight
from towline.reconciler.store import merge_requests, reading
from towline.reconciler.store.people import Person
from towline.reconciler.store.reading_acts import standings
from towline.schemas.states import Verb


@dataclass(frozen=True, slots=True)
class Subject:
    """A Deployment as the API shows it, and what can be done to it now."""

    shown: Mapping[str, Any]
    verbs: list[Verb]
    run: Row[Any] | None
    """None: git does not want it yet."""

    @property
    def id(self) -> str:
        """The run's, or that of the run to come."""
        return str(self.shown["id"])

    def sentences(self, connection: Connection, verb: Verb) -> list[str]:
        """What a verb will do, in words and counts."""
        if self.run is None:
            return what_it_does_unmerged(verb, self.shown)
        fates = consequences(verb, standings(connection, self.run.seq))
        return what_it_does(verb, self.shown, fates)

    def concerned(self, connection: Connection, verb: Verb) -> int:
        """How many devices a verb does something to."""
        if self.run is None:
            return 0
        return sum(n for _, n in consequences(verb, standings(connection, self.run.seq)).counts)


def find_subject(connection: Connection, desk: Desk, person: Person, deployment: str) -> Subject:
    """By UUID, or the newest of that name; raises Declined, also for others' Deployments."""
    run = reading.find_run(connection, person.organization, deployment)
    if run is not None:
        shown = showing.deployment(connection, run, sight(desk))
        return Subject(shown, offered(shown) if is_newest(connection, run) else [], run)
    row = merge_requests.find(connection, person.organization, deployment)
    if row is None:
        raise no_deployment(deployment)
    waiting = unmerged.detail(connection, row, sight(desk).now)
    return Subject(waiting, unmerged_offered(waiting), None)


def find_run(connection: Connection, person: Person, deployment: str) -> Row[Any]:
    """The run of that UUID or the newest of that name; raises Declined, also for others' runs."""
    run = reading.find_run(connection, person.organization, deployment)
    if run is None:
        raise no_deployment(deployment)
    return run


def is_newest(connection: Connection, run: Row[Any]) -> bool:
    """False when a newer run of the Deployment took its place."""
    newest = reading.find_run(connection, run.organization, run.deployment)
    return newest is not None and newest.seq == run.seq


def no_deployment(text: str) -> Declined:
    """The answer to a name or UUID of nothing."""
    return Declined(404, "not-found", f"There is no deployment {text[:80]}.")
