"""From the shape of a Policy to its value, and of several Policies the strictest."""

from collections.abc import Iterable
from functools import reduce
from typing import TypeVar

from towline.manifests.model_policy import Approvals, MinSoak, Policy
from towline.manifests.shape import PolicyShape

NOTHING = ("",)
"""Hosts or strategies where several Policies leave none in common; no word equals it."""

_Entry = TypeVar("_Entry")


def policy_of(shape: PolicyShape, file: str) -> Policy:
    """The Policy that a manifest describes."""
    spec = shape.spec
    return Policy(
        name=shape.metadata.name,
        file=file,
        package_hosts=tuple(sorted(set(spec.package_hosts))),
        max_devices=spec.max_devices,
        max_share_first_batch=spec.max_share_first_batch,
        min_soak=tuple(
            MinSoak(tuple(sorted(rule.labels.items())), rule.soak) for rule in spec.min_soak
        ),
        allow_strategies=tuple(sorted(set(spec.allow_strategies))),
        max_removed=spec.max_removed,
        stale_plan=spec.stale_plan,
        api_commits=spec.api_commits,
        approvals=tuple(Approvals(rule.above_devices, rule.count) for rule in spec.approvals),
        stale_git_alert_s=spec.stale_git.alert_after,
        stale_git_hold_s=spec.stale_git.hold_after,
    )


def strictest(policies: Iterable[Policy]) -> Policy:
    """Each key as the strictest of several says it, left out ones by their defaults.

    The last one gives name and file; of none, a Policy of defaults.
    """
    found = tuple(policies)
    return reduce(_stricter, found) if found else Policy()


def _stricter(one: Policy, other: Policy) -> Policy:
    return Policy(
        name=other.name,
        file=other.file,
        package_hosts=_common(one.package_hosts, other.package_hosts),
        max_devices=_least(one.max_devices, other.max_devices),
        max_share_first_batch=_least(one.max_share_first_batch, other.max_share_first_batch),
        min_soak=_together(one.min_soak, other.min_soak),
        allow_strategies=_common(one.allow_strategies, other.allow_strategies),
        max_removed=min(one.max_removed, other.max_removed),
        stale_plan=min(one.stale_plan, other.stale_plan),
        api_commits="branch" if "branch" in (one.api_commits, other.api_commits) else "direct",
        approvals=_together(one.approvals, other.approvals),
        stale_git_alert_s=min(one.stale_git_alert_s, other.stale_git_alert_s),
        stale_git_hold_s=min(one.stale_git_hold_s, other.stale_git_hold_s),
    )


def _common(one: tuple[str, ...], other: tuple[str, ...]) -> tuple[str, ...]:
    """What both allow; an empty list allows everything."""
    if not one or not other:
        return one or other
    return tuple(sorted(set(one) & set(other))) or NOTHING


def _least(one: int | None, other: int | None) -> int | None:
    return min((each for each in (one, other) if each is not None), default=None)


def _together(one: tuple[_Entry, ...], other: tuple[_Entry, ...]) -> tuple[_Entry, ...]:
    return (*one, *(entry for entry in other if entry not in one))
