"""Policies: which one holds for a manifest, and what it leaves a Deployment to do.

Pure. When a Policy binds (a commit is judged by the one in force before it, a stricter one from
the next batch on) is the reconciler's business; what only the inventory shows is asked with counts.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from posixpath import dirname
from urllib.parse import urlsplit

from towline.manifests.errors import Location
from towline.manifests.model import (
    BatchPlan,
    Deployment,
    Operator,
    Ownership,
    Package,
    SizeKind,
    StrategyKind,
)
from towline.manifests.model_policy import MinSoak, Policy
from towline.manifests.policy_values import NOTHING, strictest
from towline.manifests.shape_words import duration_text


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing that a Deployment may not do."""

    location: Location
    """Where it stands in the manifest, in every way of writing it: steps that are not there are
    left out."""
    message: str
    remedy: str


def policy_for(policies: Mapping[str, Policy], file: str) -> Policy:
    """The strictest of what the Policies in the folders above a manifest say.

    `file` is the manifest's path in the repository. Where there is no Policy its defaults hold.
    Name and file are those of the nearest one.
    """
    above = [policy for policy in policies.values() if is_above(policy, file)]
    return strictest(sorted(above, key=lambda policy: (policy.file.count("/"), policy.file)))


def repository_policy(policies: Mapping[str, Policy]) -> Policy:
    """What holds for the repository as a whole, by the Policies that lie in no sub-folder.

    For maxRemoved and staleGit, which speak of no single manifest.
    """
    return policy_for(policies, "")


def is_above(policy: Policy, file: str) -> bool:
    """True when a Policy holds for a path: it lies in its folder or in one above."""
    folder = dirname(policy.file)
    return not folder or file.startswith(f"{folder}/")


def violations(deployment: Deployment, policy: Policy) -> tuple[str, ...]:
    """What a Deployment may not do, as far as it shows without the inventory; one sentence each."""
    return tuple(found.message for found in violations_in_place(deployment, policy))


def violations_in_place(deployment: Deployment, policy: Policy) -> Iterator[Violation]:
    """`violations`, with their place in the manifest and what to write instead."""
    yield from _strangers(deployment, policy)
    yield from _strategy(deployment, policy)
    yield from _first_share(deployment, policy)
    yield from _short_soaks(deployment, policy)
    limit = policy.max_devices
    if limit is not None and (deployment.max_devices or 0) > limit:
        message = f"maxDevices is {deployment.max_devices}, and {_by(policy)} allows {limit}"
        yield Violation(("spec", "maxDevices"), message, f"write at most {limit}")


def over_devices(deployment: Deployment, policy: Policy, targets: int) -> str:
    """Why a run of so many devices may not start; empty when it may. For the plan and the start."""
    limits = [
        (limit, whose)
        for limit, whose in (
            (deployment.max_devices, "the manifest"),
            (policy.max_devices, _by(policy)),
        )
        if limit is not None and targets > limit
    ]
    if not limits:
        return ""
    limit, whose = min(limits)
    return f"{targets} devices, and {whose} allows {limit}"


def over_first_batch(policy: Policy, devices: int, targets: int) -> str:
    """Why a first batch of so many of `targets` devices may not open; empty when it may."""
    limit = first_batch_limit(policy, targets)
    if limit is None or devices <= limit:
        return ""
    return f"the first batch takes {devices} of {targets} devices, and {_by(policy)} allows {limit}"


def below_soak(deployment: Deployment, policy: Policy, floor_s: int) -> str:
    """Why a run whose devices want this least soak may not go on; empty when it may."""
    found = _shorter_soaks(deployment, policy, floor_s)
    return next((each.message for each in found), "")


def first_batch_limit(policy: Policy, targets: int) -> int | None:
    """Most devices that the first batch of a run of `targets` may take; None for any number.

    A share is rounded up, as batches are, so that it always leaves room for one device.
    """
    share = policy.max_share_first_batch
    return None if share is None else -(-share * targets // 100)


def soak_floor(policy: Policy, label_sets: Iterable[Mapping[str, str]]) -> int:
    """The least soak in seconds of every batch but the last of a run of devices so labelled."""
    sets = tuple(label_sets)
    return max(
        (
            rule.soak_s
            for rule in policy.min_soak
            if not rule.labels or any(_has_one(labels, rule) for labels in sets)
        ),
        default=0,
    )


def approvals_needed(policy: Policy, targets: int) -> int:
    """How many distinct operators must agree to a run of so many devices."""
    return max((rule.count for rule in policy.approvals if targets > rule.above_devices), default=0)


def _by(policy: Policy) -> str:
    return f"Policy {policy.name}" if policy.name else "the Policy"


def _strangers(deployment: Deployment, policy: Policy) -> Iterator[Violation]:
    """Packages from hosts that are not allowed; an address without a scheme is the server's own."""
    hosts = policy.package_hosts
    if not hosts:
        return
    allowed = "no host" if hosts == NOTHING else ", ".join(hosts)
    for way, package in _delivered(deployment):
        for at, url in enumerate(package.urls):
            host = urlsplit(url).hostname
            if host is not None and host not in hosts:
                message = f"the package comes from {host}, and {_by(policy)} allows {allowed}"
                remedy = "move the package there, or below the server's /packages/"
                yield Violation((*way, "url", "urls", at), message, remedy)


def _delivered(deployment: Deployment) -> Iterator[tuple[Location, Package]]:
    """Every package that is written down, and its place."""
    for at, package in enumerate(deployment.packages):
        yield ("spec", "package", "packages", at), package
    for at, arm in enumerate(deployment.arms):
        if arm.packages != deployment.packages:
            for package in arm.packages:
                yield ("spec", "experiment", "arms", at, "package"), package


def _strategy(deployment: Deployment, policy: Policy) -> Iterator[Violation]:
    words = policy.allow_strategies
    if words and deployment.strategy.value not in words:
        allowed = "none" if words == NOTHING else ", ".join(words)
        message = f"strategy {deployment.strategy}, and {_by(policy)} allows {allowed}"
        yield Violation(("spec", "strategy", "type"), message, f"write one of {allowed}")


def _first_share(deployment: Deployment, policy: Policy) -> Iterator[Violation]:
    most, share = policy.max_share_first_batch, _share_of_first(deployment)
    if most is not None and share is not None and share > most:
        way = ("spec", "strategy", "percentage", "batchSize", "batches", 0, "size")
        message = f"the first batch takes {share}%, and {_by(policy)} allows {most}%"
        yield Violation(way, message, f"let the first batch take at most {most}%")


def _share_of_first(deployment: Deployment) -> int | None:
    """Percent of all devices; None where only the inventory tells.

    That is so of a batch with filters of its own, and of devices that are named one by one.
    """
    first = deployment.batches[0]
    if deployment.strategy is StrategyKind.MANUAL or first.ownership is not None:
        return None
    return first.amount if first.size is SizeKind.SHARE else 100


def _short_soaks(deployment: Deployment, policy: Policy) -> Iterator[Violation]:
    """Soaks below the least one of devices that the filters name."""
    floors = [rule.soak_s for rule in policy.min_soak if _names(deployment, rule)]
    yield from _shorter_soaks(deployment, policy, max(floors, default=0))


def _shorter_soaks(deployment: Deployment, policy: Policy, floor: int) -> Iterator[Violation]:
    """Soaks below `floor`; manual goes by hand."""
    if floor == 0 or deployment.strategy is StrategyKind.MANUAL:
        return
    wanted = f"and {_by(policy)} wants {duration_text(floor)}"
    if len(deployment.batches) == 1:
        message = f"one batch takes all devices without a soak, {wanted}"
        yield Violation(("spec", "strategy", "type"), message, "choose a strategy with batches")
    for at, plan in enumerate(deployment.batches[:-1]):
        if plan.soak_s < floor:
            message = f"batch {plan.name} soaks {duration_text(plan.soak_s)}, {wanted}"
            yield Violation(
                _soak_of(deployment, at), message, f"write soak: {duration_text(floor)}"
            )
            if deployment.strategy is not StrategyKind.BATCHES:
                return  # one key says it for all batches


def _soak_of(deployment: Deployment, at: int) -> Location:
    if deployment.strategy is StrategyKind.BATCHES:
        return ("spec", "strategy", "batches", at, "soak")
    return ("spec", "soak")


def _names(deployment: Deployment, rule: MinSoak) -> bool:
    """True when devices of a rule plainly take part: all do, or a filter asks for their label."""
    plans: tuple[BatchPlan, ...] = deployment.batches
    asked = (deployment.ownership, *(plan.ownership for plan in plans if plan.ownership))
    return not rule.labels or any(_asks_for(each, rule) for each in asked)


def _asks_for(ownership: Ownership, rule: MinSoak) -> bool:
    wanted = {(key, value) for key, values in ownership.labels for value in values} | {
        (each.key, value)
        for each in ownership.expressions
        if each.operator is Operator.IN
        for value in each.values
    }
    return any(label in wanted for label in rule.labels)


def _has_one(labels: Mapping[str, str], rule: MinSoak) -> bool:
    return any(labels.get(key) == value for key, value in rule.labels)
