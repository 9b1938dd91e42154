"""What a commit would change: proposed first, so that it can be looked at before it is made.

What git holds at its newest commit counts, and what is in force says by which Policy and root the
new manifest is judged.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from sqlalchemy import Connection

from towline.manifests.editing import Way, edited
from towline.manifests.load import load
from towline.manifests.model import Deployment
from towline.manifests.model_policy import Policy
from towline.manifests.policy import policy_for, violations_in_place
from towline.reconciler.creating import DeploymentBody, field_of
from towline.reconciler.creating_place import BadFields, Placed, loaded_with, place
from towline.reconciler.creating_reach import reach
from towline.reconciler.creation_site import Site
from towline.reconciler.refusals import NotAllowed
from towline.reconciler.statements import find_offer
from towline.reconciler.store import merge_requests, plan_reading, runs
from towline.schemas import envelope, statement
from towline.schemas.identifiers import run_uuid
from towline.schemas.problems import Problem, Refused
from towline.schemas.states import LIVE_RUNS, RunState


@dataclass(frozen=True, slots=True)
class Proposal:
    """A manifest, and the commit that would bring it."""

    parent: str
    """The commit that it would be made on."""
    files: Mapping[str, bytes]
    """What the parent holds."""
    changes: Mapping[str, bytes | None]
    """By path; None removes. Empty when the parent says the same already."""
    manifest: Deployment
    run_id: UUID
    """Of the run that it would begin."""
    target_devices: int
    takes_place_of: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The manifest's file."""
        data = self.after[self.manifest.file]
        return data.decode("utf-8", "replace")

    @property
    def after(self) -> dict[str, bytes]:
        """What the commit would hold."""
        merged = {**self.files, **self.changes}
        return {path: data for path, data in merged.items() if data is not None}


def propose(site: Site, body: DeploymentBody) -> Proposal:
    """The manifest of a body; raises BadFields, NotAllowed, or Problem of the repository."""
    parent, files = _newest(site)
    with site.store.read() as connection:
        placed = _place(connection, site, body, files)
        manifest = placed.manifest
        run_id = next_run_id(connection, site, manifest)
        if placed.same is None:
            _refuse_waiting(connection, site, run_id)
        devices = reach(connection, site.head, manifest, site.seen_after)
    if placed.same is not None:
        return Proposal(parent, files, {}, manifest, run_id, devices)
    refuse_forbidden(site.head.policies, manifest)
    changes = {**placed.files, **_statement(site, body, manifest, files)}
    return Proposal(parent, files, changes, manifest, run_id, devices, placed.takes_place_of)


def propose_edit(site: Site, name: str, changes: Mapping[Way, Any]) -> Proposal:
    """Other values in a manifest that is there; raises as `propose`."""
    parent, files = _newest(site)
    before = load(files)
    old = before.deployments.get(name)
    if old is None:
        raise NotAllowed(f"there is no Deployment {name} at the branch's head, or it is broken")
    try:
        text = edited(files[old.file].decode(), name, changes, old.file)
    except Problem as problem:
        raise NotAllowed(str(problem)) from None
    changed = {old.file: text.encode()}
    if changed[old.file] == files[old.file]:
        raise NotAllowed("nothing was changed")
    manifest = loaded_with(files, changed, before, name, old.file)
    refuse_forbidden(site.head.policies, manifest)
    with site.store.read() as connection:
        run_id = next_run_id(connection, site, manifest)
        devices = reach(connection, site.head, manifest, site.seen_after)
    return Proposal(parent, files, changed, manifest, run_id, devices)


def _newest(site: Site) -> tuple[str, Mapping[str, bytes]]:
    parent = site.repository.head()
    if parent is None:
        raise NotAllowed("the fleet repository has no commit yet")
    return parent, site.repository.read(parent)


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


def next_run_id(connection: Connection, site: Site, manifest: Deployment) -> UUID:
    """Of the run that the manifest's revision would begin next."""
    key = (site.head.organization, manifest.name, manifest.revision)
    return run_uuid(*key, runs.count_turns(connection, *key))


def _refuse_living(connection: Connection, site: Site, same: Deployment) -> None:
    run = runs.newest_run(connection, site.head.organization, same.name)
    if run is None or run.revision != same.revision:
        run_id = next_run_id(connection, site, same)
        raise NotAllowed(f"{same.name} delivers this already: deployment {run_id} begins soon")
    if RunState(run.status) in LIVE_RUNS:
        raise NotAllowed(f"{same.name} delivers this already: deployment {run.id} is {run.status}")


def _refuse_waiting(connection: Connection, site: Site, run_id: UUID) -> None:
    """One that went to the tracked branch itself and is not there any more waits in vain."""
    row = merge_requests.find(connection, site.head.organization, str(run_id))
    if row is not None and row.status == RunState.PENDING.value and row.compare:
        waits = f"waits on branch {row.branch}: {row.compare}"
        raise NotAllowed(f"deployment {row.id} is this and {waits}")


def refuse_forbidden(policies: Mapping[str, Policy], manifest: Deployment) -> None:
    """Raises BadFields for what the Policy of the manifest's folder does not allow."""
    policy = policy_for(policies, manifest.file)
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
