"""The contract's POST: a Deployment is made by a call, and git is where it is kept.

One call at a time writes. A call that is repeated with its Idempotency-Key is answered as before.
"""

import hashlib
import time
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Header
from sqlalchemy import Row

from towline.reconciler.creating import DeploymentBody
from towline.reconciler.creation_site import Created
from towline.reconciler.server.desk import Declined, Desk, wall_clock
from towline.reconciler.server.making import make
from towline.reconciler.server.receiving import AtDesk, Operator
from towline.reconciler.store import answers, reading
from towline.reconciler.store.people import Person
from towline.reconciler.store.reading_batches import when
from towline.schemas.states import RunState

IN_FORCE_WAIT_S = 10.0
"""How long a call that has committed to the tracked branch waits until its run is there."""
_LOOK_EVERY_S = 0.05

router = APIRouter(prefix="/api/v1/admin/ota")

IdempotencyKey = Annotated[
    str | None, Header(alias="Idempotency-Key", min_length=1, max_length=255)
]


@router.post("/deployments")
def create_deployment(
    desk: AtDesk, person: Operator, body: DeploymentBody, key: IdempotencyKey = None
) -> dict[str, Any]:
    """Write a manifest: on a branch to be merged, or in force at once where the Policy says so."""
    digest = hashlib.sha256(body.model_dump_json().encode()).hexdigest()
    with desk.writing:
        if key is not None and (former := _former_answer(desk, person, key, digest)) is not None:
            return former
        answer = _answer(desk, person, body, make(desk, person, body))
        if key is not None:
            with desk.store.write() as connection:
                now = wall_clock()
                answers.keep(connection, person.organization, key, digest, answer, now)
    return answer


def _former_answer(desk: Desk, person: Person, key: str, digest: str) -> dict[str, Any] | None:
    with desk.store.read() as connection:
        row = answers.find(connection, person.organization, key, wall_clock())
    if row is not None and row.digest != digest:
        words = "Idempotency-Key: it was used with another body; give each request its own"
        raise Declined(422, "idempotency-key", words)
    return dict(row.body) if row is not None else None


def _answer(desk: Desk, person: Person, body: DeploymentBody, created: Created) -> dict[str, Any]:
    run = None if created.compare else begun(desk, person.organization, created.id)
    manifest = created.manifest
    answer: dict[str, Any] = {
        "deployment_id": str(created.id),
        "deployment_name": body.deployment_name,
        "target_version": body.target_version,
        "target_devices": created.target_devices,
        "rollout_strategy": body.rollout_strategy,
        # Not always pending: a pause stays with the Deployment over its runs.
        "status": run.status if run is not None else RunState.PENDING.value,
        "created_at": when(run.created_at if run is not None else wall_clock()),
        "name": manifest.name,
        "commit": created.commit,
        "replaces": list(manifest.replaces),
        "takes_place_of": list(created.takes_place_of),
    }
    if created.compare:
        answer |= {"branch": created.branch, "compare": created.compare}
    return answer


def begun(
    desk: Desk, organization: str, run_id: UUID, *, is_decided: bool = False
) -> Row[Any] | None:
    """The run of a commit in force, once it was made and the next call finds it; None: not yet.

    With `is_decided` it is waited for until it is known, too, what the run waits for.
    """
    until = time.monotonic() + IN_FORCE_WAIT_S
    while time.monotonic() < until:
        with desk.store.read() as connection:
            run = reading.find_run(connection, organization, str(run_id))
        if run is not None and (run.reason or not is_decided):
            return run
        desk.wake()
        time.sleep(_LOOK_EVERY_S)
    return None
