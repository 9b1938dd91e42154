"""What is wrong with a planned rollout, and what a reviewer should look at twice. Pure."""

from collections.abc import Iterator, Mapping

from towline.manifests.model import Deployment, StrategyKind
from towline.manifests.model_policy import Policy
from towline.manifests.policy import policy_for, violations
from towline.reconciler.actions import Hold
from towline.reconciler.plan import DeploymentPlan, Said

QUIET = frozenset({"Soaking", "RollingOut", "Draining", "Preparing", "Analyzing"})
"""Waits that every rollout has."""
AT_FAULT = frozenset({"WaitingForStatement", "PolicyViolated"})
"""What a run waits for that nobody can give: the commit is at fault."""


def errors_of(
    plan: DeploymentPlan, manifest: Deployment, policies: Mapping[str, Policy]
) -> tuple[Said, ...]:
    """Why the commit should not be merged as it is.

    `policies` are those in force before it: they judge it.
    """
    policy = policy_for(policies, manifest.file)
    found = [wait for wait in plan.waits_for if wait.reason in AT_FAULT]
    found += [Said("PolicyViolated", message) for message in violations(manifest, policy)]
    return tuple(dict.fromkeys(found))


def warnings_of(
    plan: DeploymentPlan, manifest: Deployment, owned: int, last: Hold, unverifying: int = 0
) -> tuple[Said, ...]:
    """What a reviewer should know; `owned` devices match its filters, `last` is how it ended.

    `unverifying` of its devices are old ones, which verify no signature.
    """
    found = list(_warnings(plan, manifest, owned, last))
    if unverifying:
        words = f"{unverifying} of {plan.devices} devices are old ones and verify no signature"
        found.append(Said("NoSignatureCheck", words))
    return tuple(found)


def _warnings(plan: DeploymentPlan, manifest: Deployment, owned: int, last: Hold) -> Iterator[Said]:
    if owned == 0:
        yield Said("NobodyMatches", "no device matches the filters")
    first = next((batch for batch in plan.batches if batch.devices), None)
    is_all = first is not None and 1 < first.devices == plan.devices and not first.was_open
    if is_all and manifest.strategy is not StrategyKind.MANUAL:
        yield Said("FirstBatchIsAll", f"the first batch is the whole fleet: {plan.devices} devices")
    if not manifest.health and plan.devices:
        message = "no health check: an install that ends well passes, unless the package checks"
        yield Said("NoHealthCheck", message)
    if plan.openings is not None and plan.openings.first is None:
        yield Said("NeverOpens", "no window opens within the next 400 days")
    is_stuck = plan.ends_as not in ("completed", "") and last.reason not in AT_FAULT
    if is_stuck and owned:
        words = " ".join(filter(None, [last.reason, last.message]))
        yield Said("StaysOpen", f"it would stay {plan.ends_as}: {words}")
