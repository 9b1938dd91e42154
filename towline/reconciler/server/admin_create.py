"""The contract's POST: a Deployment is made by a call, and git is where it is kept.

One call at a time writes. A call that is repeated with its Idempotency-Key is answered as before.
"""

import hashlib
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Header

from towline.manifests.writing import NotWritable, Overtaken, Signature
from towline.reconciler.creating import DeploymentBody
from towline.reconciler.creating_place import BadFields
from towline.reconciler.creation import Created, Site, create
from towline.reconciler.refusals import NotAllowed
from towline.reconciler.server.desk import AtDesk, Declined, Desk, Operator, wall_clock
from towline.reconciler.store import answers, reading
from towline.reconciler.store.people import Person
from towline.reconciler.store.reading_batches import when
from towline.schemas.identifiers import slug_of
from towline.schemas.problems import Problem

IN_FORCE_WAIT_S = 10.0
"""How long a call that has committed to the tracked branch waits until its run is there."""
_LOOK_EVERY_S = 0.05

router = APIRouter(prefix="/api/v1/admin/ota")
_writing = threading.Lock()

IdempotencyKey = Annotated[
    str | None, Header(alias="Idempotency-Key", min_length=1, max_length=255)
]


@router.post("/deployments")
def create_deployment(
    desk: AtDesk, person: Operator, body: DeploymentBody, key: IdempotencyKey = None
) -> dict[str, Any]:
    """Write a manifest: on a branch to be merged, or in force at once where the Policy says so."""
    digest = hashlib.sha256(body.model_dump_json().encode()).hexdigest()
    with _writing:
        if key is not None and (former := _former_answer(desk, person, key, digest)) is not None:
            return former
        answer = _answer(desk, person, body, _create(desk, person, body))
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


def _create(desk: Desk, person: Person, body: DeploymentBody) -> Created:
    head, repository = desk.head(), desk.repository
    if head is None or repository is None:
        raise Declined(503, "not-ready", "no commit of the fleet repository is in force yet")
    if head.organization != person.organization:
        raise Declined(404, "not-found", "this server follows no repository of your organization")
    asked = {"name": body.deployment_name, "target_version": body.target_version}
    with desk.doing(person, "deployment.create", **asked) as store, _declining():
        site = Site(
            store=store,
            repository=repository,
            head=head,
            author=signature_of(person),
            now=wall_clock(),
            seen_after=desk.seen_after(),
        )
        created = create(site, body)
    desk.ring(set(created.touched))
    desk.wake()
    return created


def signature_of(person: Person) -> Signature:
    """A person as the author of a commit, with an address in the organization."""
    name = re.sub(r"[<>\x00-\x1f]", "", person.name).strip(" .,:;\"'") or person.token_id
    return Signature(name, f"{slug_of(name)}@{person.organization}")


@contextmanager
def _declining() -> Iterator[None]:
    try:
        yield
    except BadFields as bad:
        faults = [{"field": field, "message": said} for field, said in bad.faults]
        raise Declined(422, "bad-field", str(bad), errors=faults) from None
    except NotAllowed as refused:
        raise Declined(409, "not-allowed", str(refused)) from None
    except Overtaken as overtaken:
        raise Declined(409, "overtaken", f"{overtaken.what}; send it again") from None
    except NotWritable as refused:
        raise Declined(409, "not-writable", f"{refused.what}; {refused.remedy}") from None
    except Problem as problem:
        raise Declined(503, "repository", problem.what) from None


def _answer(desk: Desk, person: Person, body: DeploymentBody, created: Created) -> dict[str, Any]:
    began_at = None if created.compare else _begun(desk, person.organization, created.id)
    manifest = created.manifest
    answer: dict[str, Any] = {
        "deployment_id": str(created.id),
        "deployment_name": body.deployment_name,
        "target_version": body.target_version,
        "target_devices": created.target_devices,
        "rollout_strategy": body.rollout_strategy,
        "status": "pending",
        "created_at": when(began_at or wall_clock()),
        "name": manifest.name,
        "commit": created.commit,
        "replaces": list(manifest.replaces),
        "takes_place_of": list(created.takes_place_of),
    }
    if created.compare:
        answer |= {"branch": created.branch, "compare": created.compare}
    return answer


def _begun(desk: Desk, organization: str, run_id: UUID) -> int | None:
    """When the run of a commit in force was made, so that the next call finds it; None: not yet."""
    until = time.monotonic() + IN_FORCE_WAIT_S
    while time.monotonic() < until:
        with desk.store.read() as connection:
            run = reading.find_run(connection, organization, str(run_id))
        if run is not None:
            return int(run.created_at)
        desk.wake()
        time.sleep(_LOOK_EVERY_S)
    return None
