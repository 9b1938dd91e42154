"""Verbs on a Deployment that git does not want yet: it can be given up, and nothing else."""

from typing import Any

from sqlalchemy import Connection, Row

from towline.reconciler import unmerged
from towline.reconciler.server.desk import Declined, Desk
from towline.reconciler.store import merge_requests
from towline.reconciler.store.people import Person
from towline.schemas.states import RunState, Verb


def find(connection: Connection, person: Person, deployment: str) -> Row[Any]:
    """The one that waits for its merge; raises Declined (404) when there is none either."""
    row = merge_requests.find(connection, person.organization, deployment)
    if row is None:
        raise Declined(404, "not-found", f"there is no deployment {deployment[:80]}")
    return row


def act(desk: Desk, person: Person, deployment: str, verb: Verb) -> dict[str, Any]:
    """Cancel it; raises Declined for every other verb, with the compare link, or when it is 404."""
    with desk.store.write() as connection:
        row = find(connection, person, deployment)
        if row.status != RunState.PENDING.value:
            words = f"{verb} is not allowed: the deployment was cancelled before its merge"
            raise Declined(409, "not-allowed", words)
        if verb is not Verb.CANCEL:
            words = f"{verb} is not allowed: {unmerged.waits_for(row)}; allowed: cancel"
            raise Declined(409, "waiting-for-merge", words, compare=row.compare)
        merge_requests.cancel(connection, row.id)
        shown = unmerged.summary(find(connection, person, deployment))
    keys = ("deployment_id", "status", "reason", "message", "holds")
    did = f"branch {row.branch} is left as it is: delete it, for a merge still deploys it"
    return {key: shown[key] for key in keys} | {"did": did, "devices": {}}
