"""Making a Deployment by a call: its manifest becomes a commit, and its run has an id already.

One at a time: the caller sees to it. What is committed was proposed before (`proposal`).
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from towline.manifests.editing import Way
from towline.manifests.writing import Overtaken
from towline.reconciler.actions import BeginRun
from towline.reconciler.begin import begin_run
from towline.reconciler.creating import DeploymentBody
from towline.reconciler.creation_commit import commit, keep_request, short
from towline.reconciler.creation_site import Created, Site
from towline.reconciler.proposal import Proposal, propose, propose_edit
from towline.reconciler.refusals import NotAllowed
from towline.reconciler.store import audit, dirt, outbox, runs
from towline.reconciler.store.causes import because
from towline.schemas.states import LIVE_RUNS, RunState

TRIES = 3
"""How often a commit is made anew because somebody else's came first."""


def create(site: Site, body: DeploymentBody) -> Created:
    """Commit the manifest of a body, or begin the next run of the one that says the same.

    Raises BadFields, NotAllowed, or Problem when git does not take the commit.
    """

    def once() -> Created:
        proposal = propose(site, body)
        if not proposal.changes:
            return _begin_again(site, body, proposal.manifest.name, proposal.target_devices)
        made = _commit(site, proposal, f"Deploy {_title(body, proposal)}")
        keep_request(site, made)
        return made

    return _again_when_overtaken(once)


def edit(site: Site, name: str, changes: Mapping[Way, Any]) -> Created:
    """Commit other values of a manifest that is there; raises as `create`.

    Where only tuning changes, no run will come of it, and the id is that of the newest one.
    """

    def once() -> Created:
        proposal = propose_edit(site, name, changes)
        made = _commit(site, proposal, f"Change {short(proposal.manifest.title)}")
        with site.store.read() as connection:
            former = runs.newest_run(connection, site.head.organization, name)
        if former is None or former.revision != proposal.manifest.revision:
            keep_request(site, made)
            return made
        told = {"branch": made.branch, "commit": made.commit}
        with site.store.write() as connection:
            audit.tell(connection, deployment=name, on=str(former.id), **told)
            outbox.tell_repository(connection, site.head.organization)
        return replace(made, id=former.id)

    return _again_when_overtaken(once)


def _again_when_overtaken(once: Callable[[], Created]) -> Created:
    for _ in range(TRIES - 1):
        try:
            return once()
        except Overtaken:
            continue
    return once()


def _commit(site: Site, proposal: Proposal, subject: str) -> Created:
    blank = Created(proposal.run_id, proposal.manifest, proposal.target_devices, "", "", "")
    made = commit(site, blank, proposal.parent, proposal.changes, subject)
    return replace(made, takes_place_of=proposal.takes_place_of)


def _title(body: DeploymentBody, proposal: Proposal) -> str:
    return short(body.deployment_name or proposal.manifest.title)


def _begin_again(site: Site, body: DeploymentBody, name: str, devices: int) -> Created:
    """The next run of what is in git already, pending as every run of a call is."""
    head = site.head
    with site.store.write() as connection:
        because(connection, f"POST by {site.author.name}", site.now)
        manifest = head.deployments.get(name)
        former = runs.newest_run(connection, head.organization, name)
        if manifest is None or former is None or former.revision != manifest.revision:
            raise NotAllowed(f"{name} is not in force yet: try again in a moment")
        if RunState(former.status) in LIVE_RUNS:
            raise NotAllowed(f"{name} delivers this already: deployment {former.id}")
        turn = runs.count_turns(connection, head.organization, name, manifest.revision)
        action = BeginRun(turn, former.is_return, is_retry=True)
        touched = begin_run(connection, head, manifest, action, site.now)
        run = runs.newest_run(connection, head.organization, name)
        assert run is not None
        runs.set_on_run(connection, run.seq, target_count=devices)
        if body.start == "manual":
            runs.set_on_run(connection, run.seq, start_requested=False)
        dirt.mark(connection, head.organization, name)
        outbox.ring(connection, touched)
        audit.tell(connection, deployment=name, on=str(run.id), commit=head.commit.sha)
    branch = site.repository.branch
    return Created(run.id, manifest, devices, head.commit.sha, branch, "")
