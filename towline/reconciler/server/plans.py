"""The API for plans: the files of a commit come in, what its merge would do goes out.

The rehearsal runs in a copy of the store on a worker's thread, one at a time: it costs as much
memory as the store and a processor. It has until a deadline, and ends with the server.
"""

import threading
import time
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, StrictBool

from towline.reconciler.head import CommitSeen, Head
from towline.reconciler.head_reading import HeadRead, read_head
from towline.reconciler.plan import Change, Plan
from towline.reconciler.planning import PlanOptions, make_plan
from towline.reconciler.server.desk import Declined, Desk, wall_clock
from towline.reconciler.server.receiving import AtDesk, Planner
from towline.reconciler.store.events import Event, record
from towline.reconciler.store.people import Person
from towline.reconciler.store.plans import record_plan
from towline.reconciler.store.private_copy import copy_of_store
from towline.schemas.identifiers import ID_GRAMMAR
from towline.schemas.problems import Problem

router = APIRouter(prefix="/api/v1/admin/ota/plan")

Name = Annotated[str, Field(pattern=rf"^{ID_GRAMMAR}$")]
TIME_LIMIT_S = 60
DEPLOYMENTS_LIMIT = 200
"""So many are played in about half of the time, over a small fleet."""
_rehearsing = threading.Lock()


class CommitFiles(BaseModel):
    """What Towline reads of a commit: manifests, statements and roots by their path."""

    model_config = ConfigDict(extra="forbid")
    commit: str = Field(pattern=r"^([0-9a-f]{40}|[0-9a-f]{64}|worktree)$")
    files: dict[str, str]

    def read(self, organization: str, last_good: Head | None) -> HeadRead:
        """As the loop reads a commit."""
        files = {path: text.encode() for path, text in self.files.items()}
        kept = last_good.deployments if last_good else None
        return read_head(files, CommitSeen(self.commit), organization, kept)


class PlanRequest(BaseModel):
    """Which plan is wanted."""

    model_config = ConfigDict(extra="forbid")
    head: CommitFiles
    base: CommitFiles | None = None
    """None: what is in force here."""
    names: StrictBool = False
    only: tuple[Name, ...] = ()
    record: StrictBool = False
    """Keep how many devices each revision reaches, unless the plan has errors."""


@router.post("")
def plan(desk: AtDesk, person: Planner, body: PlanRequest) -> dict[str, Any]:
    """What the merge of a commit would do now; 503 while another plan is made.

    422 where the commit moves too much for a plan or for its time.
    """
    if not _rehearsing.acquire(blocking=False):
        raise Declined(503, "busy", "another plan is being made; try again in a moment")
    try:
        made = _make(desk, person, body)
    finally:
        _rehearsing.release()
    recorded = _record(desk, person, made) if body.record and not made.has_errors else []
    return {**made.document(), "recorded": recorded}


def _make(desk: Desk, person: Person, body: PlanRequest) -> Plan:
    in_force = desk.head()
    base = in_force
    if body.base is not None:
        base = body.base.read(person.organization, None).head
    if in_force is not None and in_force.organization != person.organization:
        raise Declined(404, "not-found", "this server follows no repository of your organization")
    options = PlanOptions(
        now=wall_clock(),
        poll_interval_s=desk.poll_interval_s,
        source="server",
        names=body.names,
        only=body.only,
        most_played=DEPLOYMENTS_LIMIT,
        go_on=_within_limit(desk),
    )
    store = copy_of_store(desk.store)
    try:
        return make_plan(store, base, body.head.read(person.organization, base), options)
    except Problem as problem:
        raise Declined(422, "too-much", str(problem)) from None
    finally:
        store.close()


def _within_limit(desk: Desk) -> Callable[[], None]:
    """Raises Declined once the time is over or the server ends."""
    until = time.monotonic() + TIME_LIMIT_S

    def go_on() -> None:
        if desk.is_stopping():
            raise Declined(503, "stopping", "the server is stopping")
        if time.monotonic() >= until:
            raise Declined(
                422,
                "too-long",
                f"the plan was not done within {TIME_LIMIT_S} seconds; split the commit, or run"
                " `towline plan` over an inventory file",
            )

    return go_on


def _record(desk: Desk, person: Person, made: Plan) -> list[str]:
    """Keep the figures of every Deployment that the commit moves; returns their names."""
    moved = [
        each
        for each in made.deployments
        if each.change in (Change.ADD, Change.CHANGE, Change.RETURN)
    ]
    now = wall_clock()
    names = [each.name for each in moved]
    deed = desk.doing(person, "plan.record", on=made.head, deployments=names)
    with deed as store, store.write() as connection:
        for each in moved:
            assert each.revision_after is not None
            record_plan(
                connection,
                made.organization,
                each.revision_after,
                each.name,
                targets=each.devices,
                batches=[batch.devices for batch in each.batches],
                author=person.name,
                now=now,
            )
        events = [
            Event(
                "plan.recorded",
                deployment=each.name,
                message=f"{each.devices} devices",
                cause=f"plan by {person.name}",
                commit="" if made.head == "worktree" else made.head,
            )
            for each in moved
        ]
        record(connection, made.organization, now, *events)
    return names
