"""What people beside the manifest demand of a run, or have granted it: read for a decision."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row

from towline.manifests.expand import batch_size
from towline.manifests.model import BatchPlan, Deployment, StrategyKind
from towline.manifests.model_policy import Policy
from towline.manifests.policy import (
    approvals_needed,
    below_soak,
    over_devices,
    over_first_batch,
    policy_for,
    repository_policy,
    soak_floor,
    violations,
)
from towline.reconciler.commits import is_git_stale
from towline.reconciler.head import Head
from towline.reconciler.snapshot import BatchSeen, FleetSeen, Rules
from towline.reconciler.store import labels, repositories
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
    soak_floor_s: int = 0
    """The least soak that the Policy wants for the devices that take part."""


@dataclass(frozen=True, slots=True)
class Reach:
    """How many devices a run is for."""

    targets: int
    first_batch: int = 0
    """Of these, so many in the strategy's first batch; 0 once it was opened, or by hand."""


def permission_of(
    connection: Connection,
    head: Head,
    manifest: Deployment,
    run: Row[Any],
    is_owned: ColumnElement[bool],
    now: int,
) -> Permission:
    """Read what is in force for the devices that the manifest owns."""
    row = repositories.get(connection, head.organization)
    policy = policy_for(head.policies, manifest.file)
    floor_s = 0
    if policy.min_soak:
        floor_s = soak_floor(policy, labels.label_sets_of(connection, head.organization, is_owned))
    return Permission(
        policy=policy,
        of_repository=repository_policy(head.policies),
        approvals=approvals_of(connection, run.seq, now),
        fetched_at=row.last_fetch_at,
        planned=recorded_targets(connection, head.organization, run.revision, manifest.name),
        soak_floor_s=floor_s,
    )


def is_judged_by_reach(permission: Permission, manifest: Deployment) -> bool:
    """Whether any rule asks for how many devices the run is."""
    policy = permission.policy
    limits = (manifest.max_devices, policy.max_devices, policy.max_share_first_batch)
    return any(limit is not None for limit in (*limits, permission.planned)) or bool(
        policy.approvals
    )


def reach_of(
    manifest: Deployment,
    batches: Sequence[BatchSeen],
    seen: FleetSeen,
    next_plan: BatchPlan | None,
    next_targets: int,
) -> Reach:
    """Pure: for how many devices the run is, and its first batch.

    `target_count` holds what still matches as well: only who is in a batch is added.
    """
    targets = seen.left + sum(batch.tally.members for batch in batches)
    is_first = all(batch.is_alone for batch in batches)
    is_by_hand = manifest.strategy is StrategyKind.MANUAL
    if next_plan is None or next_plan.is_alone or is_by_hand or not is_first:
        return Reach(targets)
    free = seen.matching + seen.busy
    size = batch_size(next_plan, targets_so_far=next_targets, matching=free)
    return Reach(targets, next_targets + size)


def rules_seen(
    permission: Permission, manifest: Deployment, run: Row[Any], reach: Reach, now: int
) -> Rules:
    """Pure: what it means for a run of so many devices."""
    policy, approvals = permission.policy, permission.approvals
    hold_after_s = permission.of_repository.stale_git_hold_s
    return Rules(
        policy_problem=_problem(permission, manifest, reach),
        approvals_needed=approvals_needed(policy, reach.targets),
        start_approvals=len({who for who in approvals.start if not is_author(who, run.author)}),
        approvals_lapse_at=approvals.start_lapses_at,
        batch_approvals=approvals.batches,
        figures_approved=approvals.figures,
        is_plan_approved=approvals.plan,
        plan_excess=_excess(permission, reach.targets),
        is_git_stale=is_git_stale(permission.fetched_at, hold_after_s, now),
    )


def _problem(permission: Permission, manifest: Deployment, reach: Reach) -> str:
    """The first thing that is forbidden, by the manifest alone or by the devices it is for."""
    policy = permission.policy
    return next(
        filter(
            None,
            (
                *violations(manifest, policy),
                over_devices(manifest, policy, reach.targets),
                below_soak(manifest, policy, permission.soak_floor_s),
                over_first_batch(policy, reach.first_batch, reach.targets),
            ),
        ),
        "",
    )


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
