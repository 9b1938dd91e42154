"""The commit of a manifest: to the tracked branch where the Policy says so, else to a new one."""

import secrets
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection

from towline.manifests.compare_link import compare_link
from towline.manifests.policy import policy_for
from towline.manifests.writing import (
    NewCommit,
    Signature,
    commit_to_branch,
    commit_to_new_branch,
)
from towline.reconciler.begin import contract_metadata
from towline.reconciler.creation_site import Created, Site
from towline.reconciler.store import audit, merge_requests, outbox, runs
from towline.reconciler.store.events import Event, record
from towline.schemas.identifiers import author_uuid
from towline.schemas.states import RunState


def goes_straight(site: Site, file: str) -> bool:
    """True where the Policy in force lets calls commit to the tracked branch.

    Where people sign its commits the server has no key to do so: a person merges.
    """
    is_signed = site.repository.allowed_signers is not None
    return policy_for(site.head.policies, file).api_commits == "direct" and not is_signed


def commit(
    site: Site, made: Created, parent: str, files: Mapping[str, bytes | None], subject: str
) -> Created:
    """Commit it; the id of the commit and its branch are known then."""
    repository, manifest = site.repository, made.manifest
    what = f"{manifest.component} {manifest.target_version}"
    new = NewCommit(
        parent=parent,
        files=files,
        message=f"{subject}\n\n{what} as {manifest.name}, {site.means}.\n",
        author=site.author,
        committer=Signature("Towline", f"towline@{site.head.organization}"),
    )
    if goes_straight(site, manifest.file) and not site.on_branch:
        sha = commit_to_branch(repository, new)
        return replace(made, commit=sha, branch=repository.branch)
    branch = f"towline/{manifest.name}-{secrets.token_hex(4)}"
    sha = commit_to_new_branch(repository, new, branch)
    compare = compare_link(repository.source, repository.branch, branch)
    return replace(made, commit=sha, branch=branch, compare=compare)


def short(title: str) -> str:
    """A title that fits into the first line of a message."""
    return f"{title[:60]}…" if len(title) > 61 else title


def keep_request(site: Site, made: Created) -> None:
    """Remember the run to come, which people see until git wants it."""
    with site.store.write() as connection:
        merge_requests.keep(connection, _row(connection, site, made))
        event = Event(
            "deployment.requested",
            deployment=made.manifest.name,
            run=made.id,
            message=f"on branch {made.branch}",
            cause=f"POST by {site.author.name}",
            commit=made.commit,
        )
        record(connection, site.head.organization, site.now, event)
        told = {"branch": made.branch, "commit": made.commit}
        audit.tell(connection, deployment=made.manifest.name, on=str(made.id), **told)
        outbox.tell_repository(connection, site.head.organization)


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
