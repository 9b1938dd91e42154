"""What people beside the manifest demand of a run, or have granted it: read for a decision."""

from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Row

from towline.manifests.model import Deployment, Policy
from towline.manifests.policy import (
    approvals_needed,
    over_devices,
    policy_for,
    repository_policy,
    violations,
)
from towline.reconciler.commits import is_git_stale
from towline.reconciler.head import Head
from towline.reconciler.snapshot import Rules
from towline.reconciler.store import repositories
from towline.reconciler.store.approvals import Approvals, approvals_of
from towline.reconciler.store.plans import recorded_targets

STALE_PLAN_LEAST = 5
"""So many devices above a recorded plan are nothing to hold for."""


@dataclass(frozen=True, slots=True)
class Permission:
    """The rules in force for one Deployment."""

    policy: Policy = field(default_factory=Policy)
    """Of the manifest's folder and those above it."""
    of_repository: Policy = field(default_factory=Policy)
    approvals: Approvals = field(default_factory=Approvals)
    fetched_at: int | None = None
    planned: int | None = None
    """Targets of the recorded plan."""


def permission_of(
    connection: Connection, head: Head, manifest: Deployment, run: Row[Any], now: int
) -> Permission:
    """Read what is in force."""
    row = repositories.get(connection, head.organization)
    return Permission(
        policy=policy_for(head.policies, manifest.file),
        of_repository=repository_policy(head.policies),
        approvals=approvals_of(connection, run.seq, now),
        fetched_at=row.last_fetch_at,
        planned=recorded_targets(connection, head.organization, run.revision, manifest.name),
    )


def rules_seen(
    permission: Permission, manifest: Deployment, run: Row[Any], targets: int, now: int
) -> Rules:
    """Pure: what it means for a run of `targets` devices."""
    policy, approvals = permission.policy, permission.approvals
    hold_after_s = permission.of_repository.stale_git_hold_s
    return Rules(
        policy_problem=_problem(policy, manifest, targets),
        approvals_needed=approvals_needed(policy, targets),
        start_approvals=len({who for who in approvals.start if not is_author(who, run.author)}),
        batch_approvals=approvals.batches,
        figures_approved=approvals.figures,
        is_plan_approved=approvals.plan,
        plan_excess=_excess(permission, targets),
        is_git_stale=is_git_stale(permission.fetched_at, hold_after_s, now),
    )


def _problem(policy: Policy, manifest: Deployment, targets: int) -> str:
    found = violations(manifest, policy)
    if found:
        return found[0]
    if manifest.max_devices is not None and targets > manifest.max_devices:
        return f"{targets} devices match, and maxDevices is {manifest.max_devices}"
    return over_devices(manifest, policy, targets)


def is_author(person: str, author: str) -> bool:
    """True when a token's name or address is the author's, who is `Name <address>`."""
    name, _, address = author.partition(" <")
    return person.casefold() in (author.casefold(), name.casefold(), address.rstrip(">").casefold())


def _excess(permission: Permission, targets: int) -> str:
    planned = permission.planned
    if planned is None or targets <= planned + STALE_PLAN_LEAST:
        return ""
    share = permission.policy.stale_plan
    if (targets - planned) * 100 <= share * planned:
        return ""
    return f"{targets} devices match, the recorded plan had {planned} (at most {share} % more)"
