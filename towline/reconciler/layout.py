"""How a run is laid out: the batches of its manifest, of a return, and safeMode's one before them.

Pure. An edit of the strategy acts on what is not yet opened.
"""

from collections.abc import Sequence

from towline.manifests.model import BatchPlan, Deployment, SizeKind

ALONE_PLAN = BatchPlan("alone", SizeKind.COUNT, 1, success_threshold=100, is_alone=True)
"""safeMode's one device."""
RETURN_PLANS = (
    BatchPlan("first", SizeKind.COUNT, 1),
    BatchPlan("few", SizeKind.SHARE, 5),
    BatchPlan("rest", SizeKind.REST),
)
"""A return: one device, then 5 %, then the rest, without soak."""


def plans_for(
    manifest: Deployment, *, is_return: bool, began_alone: bool | None
) -> Sequence[BatchPlan]:
    """The batches in order; `began_alone` says of a run with batches whether safeMode's was one."""
    if is_return:
        return RETURN_PLANS
    is_alone = manifest.safe_mode if began_alone is None else began_alone
    return (ALONE_PLAN, *manifest.batches) if is_alone else manifest.batches


def plan_number(plans: Sequence[BatchPlan], number: int) -> BatchPlan:
    """Batch `number` of a strategy; an edit of the strategy may have made it shorter: the rest."""
    return plans[number] if number < len(plans) else plans[-1]
