"""The calls about a Deployment that git does not want yet, and has no run."""

from typing import Any

from sqlalchemy import Connection, Row

from towline.reconciler import standing, unmerged, waiting_acts
from towline.reconciler.acts import Act
from towline.reconciler.refusals import NotAllowed
from towline.reconciler.server.desk import Declined, Desk, wall_clock
from towline.reconciler.server.etags import demand, etag_of
from towline.reconciler.store import audit, merge_requests, overrides
from towline.reconciler.store.people import Person
from towline.schemas.states import Verb


def find(connection: Connection, person: Person, deployment: str) -> Row[Any]:
    """The one that waits for its merge; raises Declined (404) when there is none either."""
    row = merge_requests.find(connection, person.organization, deployment)
    if row is None:
        raise Declined(404, "not-found", f"there is no deployment {deployment[:80]}")
    return row


def act(
    desk: Desk, person: Person, deployment: str, asked: Act, reason: str, if_match: str | None
) -> dict[str, Any]:
    """Carry out a verb; raises Declined, with the compare link where a merge is missing."""
    now = wall_clock()
    deed = desk.doing(person, f"deployment.{asked.verb}", reason=reason, **asked.options())
    with deed as store, store.write() as connection:
        row = find(connection, person, deployment)
        demand(if_match, etag_of(standing.of_waiting(connection, row)))
        audit.tell(connection, deployment=row.name, on=str(row.id))
        try:
            who = overrides.Person(person.name, reason, now)
            waiting_acts.act(connection, row, asked, who)
        except waiting_acts.WaitsForMerge as refused:
            words = str(refused)
            raise Declined(409, "waiting-for-merge", words, compare=row.compare) from None
        except NotAllowed as refused:
            raise Declined(409, "not-allowed", str(refused)) from None
        shown = unmerged.summary(connection, find(connection, person, deployment), now)
    keys = ("deployment_id", "status", "reason", "message", "holds")
    left = f"branch {row.branch} is left as it is: delete it, for a merge still deploys it"
    did = left if asked.verb is Verb.CANCEL else ""
    return {key: shown[key] for key in keys} | {"did": did, "devices": {}}
