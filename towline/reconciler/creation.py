"""Making a Deployment by a call: its manifest becomes a commit, and its run has an id already.

One at a time: the caller sees to it. What git holds at its newest commit counts, and what is in
force says by which Policy and root the new manifest is judged.
"""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from sqlalchemy import Connection

from towline.manifests.compare_link import compare_link
from towline.manifests.model import Deployment
from towline.manifests.policy import policy_for, violations_in_place
from towline.manifests.repository import Repository
from towline.manifests.writing import (
    NewCommit,
    Overtaken,
    Signature,
    commit_to_branch,
    commit_to_new_branch,
)
from towline.reconciler.actions import BeginRun
from towline.reconciler.begin import begin_run, contract_metadata
from towline.reconciler.creating import DeploymentBody, field_of
from towline.reconciler.creating_place import BadFields, Placed, place
from towline.reconciler.creating_reach import reach
from towline.reconciler.head import Head
from towline.reconciler.refusals import NotAllowed
from towline.reconciler.statements import find_offer
from towline.reconciler.store import audit, dirt, merge_requests, plan_reading, runs
from towline.reconciler.store.causes import because
from towline.reconciler.store.engine import Store
from towline.reconciler.store.events import Event, record
from towline.schemas import envelope, statement
from towline.schemas.identifiers import author_uuid, run_uuid
from towline.schemas.problems import Refused
from towline.schemas.states import LIVE_RUNS, RunState

TRIES = 3
"""How often a commit is made anew because somebody else's came first."""


@dataclass(frozen=True, slots=True)
class Site:
    """Where a Deployment is made, when, and by whom."""

    store: Store
    repository: Repository
    head: Head
    """What is in force."""
    author: Signature
    now: int
    seen_after: int


@dataclass(frozen=True, slots=True)
class Created:
    """A Deployment that was made."""

    id: UUID
    """Of the run that the reconciler begins, or has begun."""
    manifest: Deployment
    target_devices: int
    commit: str
    branch: str
    compare: str
    """Where the branch is looked at and merged; empty when nothing is to be merged."""
    takes_place_of: tuple[str, ...] = ()
    touched: frozenset[int] = frozenset()
    """Devices whose documents changed."""


def create(site: Site, body: DeploymentBody) -> Created:
    """Commit the manifest of a body, or begin the next run of the one that says the same.

    Raises BadFields, NotAllowed, or Problem when git does not take the commit.
    """
    for _ in range(TRIES - 1):
        try:
            return _create(site, body)
        except Overtaken:
            continue
    return _create(site, body)


def _create(site: Site, body: DeploymentBody) -> Created:
    parent = site.repository.head()
    if parent is None:
        raise NotAllowed("the fleet repository has no commit yet")
    files = site.repository.read(parent)
    with site.store.read() as connection:
        placed = _place(connection, site, body, files)
        manifest = placed.manifest
        run_id = _next_id(connection, site, manifest)
        if placed.same is None:
            _refuse_waiting(connection, site, run_id)
        devices = reach(connection, site.head, manifest, site.seen_after)
    if placed.same is not None:
        return _begin_again(site, body, manifest.name, devices)
    _refuse_forbidden(site, manifest)
    changes = {**placed.files, **_statement(site, body, manifest, files)}
    made = _write(site, body, Created(run_id, manifest, devices, "", "", ""), parent, changes)
    made = replace(made, takes_place_of=placed.takes_place_of)
    with site.store.write() as connection:
        merge_requests.keep(connection, _row(connection, site, made))
        where = {"commit": made.commit, "branch": made.branch}
        audit.tell(connection, deployment=manifest.name, on=str(run_id), **where)
        event = Event(
            "deployment.requested",
            deployment=manifest.name,
            run=run_id,
            message=f"on branch {made.branch}",
            cause=f"POST by {site.author.name}",
            commit=made.commit,
        )
        record(connection, site.head.organization, site.now, event)
    return made


def _place(
    connection: Connection, site: Site, body: DeploymentBody, files: Mapping[str, bytes]
) -> Placed:
    def shares(one: Deployment, other: Deployment) -> bool:
        both = (one.ownership, other.ownership)
        found, _ = plan_reading.common(
            connection, site.head.organization, *both, site.head.groups, 0
        )
        return found > 0

    avoid: frozenset[str] = frozenset()
    while True:
        placed = place(body, files, shares, avoid)
        if placed.same is None:
            return placed
        _refuse_living(connection, site, placed.same)
        if replace(placed.manifest, file=placed.same.file) == placed.same:
            return placed
        # What is delivered is the same and how is another: it is a Deployment of its own.
        avoid |= {placed.same.name}


def _next_id(connection: Connection, site: Site, manifest: Deployment) -> UUID:
    key = (site.head.organization, manifest.name, manifest.revision)
    return run_uuid(*key, runs.count_turns(connection, *key))


def _refuse_living(connection: Connection, site: Site, same: Deployment) -> None:
    run = runs.newest_run(connection, site.head.organization, same.name)
    if run is None or run.revision != same.revision:
        run_id = _next_id(connection, site, same)
        raise NotAllowed(f"{same.name} delivers this already: deployment {run_id} begins soon")
    if RunState(run.status) in LIVE_RUNS:
        raise NotAllowed(f"{same.name} delivers this already: deployment {run.id} is {run.status}")


def _refuse_waiting(connection: Connection, site: Site, run_id: UUID) -> None:
    row = merge_requests.find(connection, site.head.organization, str(run_id))
    if row is not None and row.status == RunState.PENDING.value:
        where = f": {row.compare}" if row.compare else ""
        raise NotAllowed(f"deployment {row.id} is this and waits on branch {row.branch}{where}")


def _refuse_forbidden(site: Site, manifest: Deployment) -> None:
    policy = policy_for(site.head.policies, manifest.file)
    faults = [
        (field_of(found.location), found.message) for found in violations_in_place(manifest, policy)
    ]
    if faults:
        raise BadFields(faults)


def _statement(
    site: Site, body: DeploymentBody, manifest: Deployment, files: Mapping[str, bytes]
) -> dict[str, bytes]:
    """The statement that came with the body, where none lies there that fits."""
    root = site.head.root
    if body.release is None:
        return {}
    try:
        sealed = envelope.from_document(body.release)
        word = statement.verify(sealed, root.release)
    except Refused as refused:
        raise BadFields([("release", f"it is not to be trusted: {refused}")]) from None
    (package,) = manifest.packages
    problem = statement.misfit(
        word,
        organization=root.organization,
        component=manifest.component,
        version=manifest.target_version,
        sha256=package.sha256,
        package_format=package.format,
    )
    if problem:
        raise BadFields([("release", problem)])
    if find_offer(manifest, files, root)[0] is not None:
        return {}
    path = (manifest.component, manifest.target_version, package.file_name)
    return {statement.statement_path(*path): sealed.to_bytes()}


def _write(
    site: Site,
    body: DeploymentBody,
    made: Created,
    parent: str,
    files: Mapping[str, bytes | None],
) -> Created:
    """Commit where the Policy says; the id of the commit and its branch are known then."""
    repository, manifest = site.repository, made.manifest
    new = NewCommit(
        parent=parent,
        files=files,
        message=_message(body, manifest),
        author=site.author,
        committer=Signature("Towline", f"towline@{site.head.organization}"),
    )
    if policy_for(site.head.policies, manifest.file).api_commits == "direct":
        sha = commit_to_branch(repository, new)
        return replace(made, commit=sha, branch=repository.branch)
    branch = f"towline/{manifest.name}-{secrets.token_hex(4)}"
    sha = commit_to_new_branch(repository, new, branch)
    compare = compare_link(repository.source, repository.branch, branch)
    return replace(made, commit=sha, branch=branch, compare=compare)


def _message(body: DeploymentBody, manifest: Deployment) -> str:
    title = f"{body.deployment_name[:60]}…" if len(body.deployment_name) > 61 else manifest.title
    what = f"{manifest.component} {manifest.target_version}"
    return f"Deploy {title}\n\n{what} as {manifest.name}, by a call of the API.\n"


def _row(connection: Connection, site: Site, made: Created) -> dict[str, Any]:
    manifest, organization = made.manifest, site.head.organization
    return {
        "id": made.id,
        "organization": organization,
        "name": manifest.name,
        "revision": manifest.revision,
        "branch": made.branch,
        "compare": made.compare,
        "title": manifest.title,
        "status": RunState.PENDING.value,
        "author": f"{site.author.name} <{site.author.address}>",
        "created_by": author_uuid(site.author.address),
        "created_at": site.now,
        "metadata": {
            "component": manifest.component,
            "target_version": manifest.target_version,
            "rollout_strategy": manifest.strategy.value,
            "rollout_percentage": manifest.rollout_percentage,
            "target_devices": made.target_devices,
            "turn": runs.count_turns(connection, organization, manifest.name, manifest.revision),
            "commit": made.commit,
            "metadata": contract_metadata(manifest),
        },
    }


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
        if body.start == "manual":
            runs.set_on_run(connection, run.seq, start_requested=False)
        dirt.mark(connection, head.organization, name)
        audit.tell(connection, deployment=name, on=str(run.id), commit=head.commit.sha)
    branch = site.repository.branch
    return Created(
        run.id, manifest, devices, head.commit.sha, branch, "", touched=frozenset(touched)
    )
