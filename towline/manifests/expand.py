"""Strategies become one list of batches, and a batch becomes a number of devices.

Pure rules (the manual, section "Batches"); all counting is in whole numbers.
"""

from towline.manifests.filters import ownership_of
from towline.manifests.model import BatchPlan, SizeKind
from towline.manifests.shape_rollout import (
    REST,
    BatchesShape,
    BatchShape,
    CanaryShape,
    RollingShape,
    StrategyShape,
)


def expand(
    strategy: StrategyShape, *, success_threshold: int, soak_s: int
) -> tuple[BatchPlan, ...]:
    """The batches in order; the last one is all that is left and has neither soak nor approval.

    `success_threshold` (percent) and `soak_s` hold where a batch says nothing else.
    """
    plans = [
        *_listed(strategy, success_threshold, soak_s),
        BatchPlan(REST, SizeKind.REST, success_threshold=success_threshold),
    ]
    if len(plans) > 1 and _takes_all(plans[-2]):
        plans.pop()
    last = plans[-1]
    plans[-1] = BatchPlan(last.name, SizeKind.REST, success_threshold=last.success_threshold)
    return tuple(plans)


def rollout_percentage(strategy: StrategyShape) -> int | None:
    """The contract's column: a canary's share or the step of a rolling rollout, in percent."""
    if isinstance(strategy, CanaryShape):
        return strategy.percentage
    return strategy.batch_size if isinstance(strategy, RollingShape) else None


def _takes_all(plan: BatchPlan) -> bool:
    return plan.size is SizeKind.SHARE and plan.amount == 100 and plan.ownership is None


def _listed(strategy: StrategyShape, success_threshold: int, soak_s: int) -> list[BatchPlan]:
    """The batches before the rest."""
    if isinstance(strategy, CanaryShape):
        return [_share("canary", strategy.percentage, success_threshold, soak_s)]
    if isinstance(strategy, RollingShape):
        step = strategy.batch_size
        return [
            _share(f"step-{at}", share, success_threshold, soak_s, strategy.min_devices)
            for at, share in enumerate(range(step, 100, step), start=1)
        ]
    if isinstance(strategy, BatchesShape):
        return [_own(batch, success_threshold, soak_s) for batch in strategy.batches]
    return []


def _share(
    name: str, share: int, success_threshold: int, soak_s: int, min_devices: int = 0
) -> BatchPlan:
    return BatchPlan(
        name=name,
        size=SizeKind.SHARE,
        amount=share,
        min_devices=min_devices,
        success_threshold=success_threshold,
        soak_s=soak_s,
    )


def _own(batch: BatchShape, success_threshold: int, soak_s: int) -> BatchPlan:
    return BatchPlan(
        name=batch.name,
        size=SizeKind.SHARE,
        amount=batch.size,
        ownership=None if batch.filters is None else ownership_of(batch.filters),
        success_threshold=batch.success_threshold or success_threshold,
        soak_s=soak_s if batch.soak is None else batch.soak,
        needs_approval=batch.approval == "manual",
    )


def batch_size(plan: BatchPlan, *, targets_so_far: int, matching: int) -> int:
    """How many devices a batch takes when it opens.

    `targets_so_far` are targets not skipped, `matching` the devices that match and are none yet;
    for a batch with filters of its own, both among its own matches.
    """
    if plan.size is SizeKind.REST:
        return matching
    if plan.size is SizeKind.COUNT:
        return min(plan.amount, matching)
    everybody = targets_so_far + matching
    goal = -(-plan.amount * everybody // 100)
    if plan.amount < 100 and everybody >= 2:
        goal = min(goal, everybody - 1)
    size = max(0, goal - targets_so_far)
    if size > 0:
        size = max(size, plan.min_devices)
    return min(size, matching)
