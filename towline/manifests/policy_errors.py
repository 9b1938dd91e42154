"""What `validate` says of Policies: violations at their place, and Policies that do nothing.

The loader refuses nothing here: a commit is judged by the Policy in force before it, and these
are the Policies that lie beside the manifests.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from towline.manifests.errors import LoadError, path_text
from towline.manifests.identity import identify
from towline.manifests.load import Loaded
from towline.manifests.model import Deployment
from towline.manifests.model_policy import Policy
from towline.manifests.policy import is_above, policy_for, violations_in_place
from towline.manifests.yaml_strict import read_documents
from towline.manifests.yaml_tree import Node, fault_at
from towline.schemas.problems import Place


@dataclass(frozen=True, slots=True)
class PolicyWarning:
    """A key of a Policy, or a whole one, that changes nothing."""

    policy: Policy
    message: str


def policy_errors(files: Mapping[str, bytes], loaded: Loaded) -> tuple[LoadError, ...]:
    """Every violation of every Deployment that loads, in the order of files and names.

    `files` are those that `loaded` was read from.
    """
    if not loaded.policies:
        return ()
    named = sorted(loaded.deployments.values(), key=lambda each: (each.file, each.name))
    return tuple(
        error
        for each in named
        for error in _errors(each, policy_for(loaded.policies, each.file), files)
    )


def _errors(
    deployment: Deployment, policy: Policy, files: Mapping[str, bytes]
) -> Iterator[LoadError]:
    found = tuple(violations_in_place(deployment, policy))
    if not found:
        return
    root = _root(files[deployment.file], deployment.name)
    for violation in found:
        fault = fault_at(root, violation.location, violation.message, violation.remedy)
        yield LoadError(
            place=Place(deployment.file, fault.mark.line, fault.mark.column),
            path=path_text(fault.location),
            message=fault.message,
            remedy=fault.remedy,
            kind="Deployment",
            name=deployment.name,
        )


def _root(data: bytes, name: str) -> Node:
    """The document of a Deployment that is known to be in the file."""
    roots = (document.root for document in read_documents(data))
    return next(root for root in roots if _is(root, name))


def _is(root: Node, name: str) -> bool:
    identity = identify(root)
    return identity is not None and (identity.kind, identity.name) == ("Deployment", name)


def policy_warnings(loaded: Loaded) -> tuple[PolicyWarning, ...]:
    """Policies that hold for nothing, and keys that other Policies outdo."""
    policies = sorted(loaded.policies.values(), key=lambda policy: (policy.file, policy.name))
    return tuple(
        PolicyWarning(policy, message) for policy in policies for message in _idle(policy, loaded)
    )


def _idle(policy: Policy, loaded: Loaded) -> Iterator[str]:
    if "/" not in policy.file:
        return
    files = (each.file for each in loaded.deployments.values())
    if not any(is_above(policy, file) for file in files):
        yield "no Deployment lies in its folder or below, so that it holds for nothing"
    default = Policy()
    for key in ("max_removed", "stale_git_alert_s", "stale_git_hold_s"):
        if getattr(policy, key) != getattr(default, key):
            yield f"{_WORDS[key]} is about the repository: only a Policy in no folder sets it"
    yield from _outdone(policy, policy_for(loaded.policies, policy.file))


def _outdone(policy: Policy, together: Policy) -> Iterator[str]:
    for key in ("max_devices", "max_share_first_batch"):
        own, other = getattr(policy, key), getattr(together, key)
        if own is not None and other is not None and own > other:
            yield f"{_WORDS[key]} {own} has no effect: another Policy allows {other}"
    for key in ("package_hosts", "allow_strategies"):
        own, other = set(getattr(policy, key)), set(getattr(together, key))
        if other and own - other:
            listed = ", ".join(sorted(own - other))
            yield f"{listed} in {_WORDS[key]} has no effect: another Policy leaves it out"


_WORDS = {
    "max_removed": "maxRemoved",
    "stale_git_alert_s": "staleGit.alertAfter",
    "stale_git_hold_s": "staleGit.holdAfter",
    "max_devices": "maxDevices",
    "max_share_first_batch": "maxShareFirstBatch",
    "package_hosts": "packageHosts",
    "allow_strategies": "allowStrategies",
}
"""Keys as they stand in YAML."""
