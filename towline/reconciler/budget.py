"""How many devices of a group may be away at once: the arithmetic of `disruptionBudget`.

Pure and in whole numbers. A device is away while it holds a grant without a verdict, whoever gave
it. A device without the label is a group of its own, which every budget has room for.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

from towline.manifests.model import Budget


def allowed(budget: Budget, size: int) -> int:
    """How many devices of a group of `size` may be away at once; at least one."""
    if not budget.is_share:
        return budget.amount
    return max(1, size * budget.amount // 100)


def full_groups(
    away: Mapping[str, int], sizes: Mapping[str, int], budget: Budget
) -> frozenset[str]:
    """The groups that nobody may leave now; `sizes` is read for a share only."""
    return frozenset(
        group for group, n in away.items() if n >= allowed(budget, sizes.get(group, 0))
    )


def choose(
    candidates: Sequence[tuple[int, str | None]],
    away: Mapping[str, int],
    sizes: Mapping[str, int],
    budget: Budget,
    limit: int,
) -> tuple[int, ...]:
    """At most `limit` devices, in order, that may be granted together with all that are away.

    `candidates` are (device, its value of the label). A candidate that is away itself counts again,
    which errs on the side of waiting. Any first part of the answer keeps the budget too.
    """
    taken = Counter(away)
    chosen: list[int] = []
    most: dict[str, int] = {}
    for device, group in candidates:
        if len(chosen) >= limit:
            break
        if group is not None:
            if group not in most:
                most[group] = allowed(budget, sizes.get(group, 0))
            if taken[group] >= most[group]:
                continue
            taken[group] += 1
        chosen.append(device)
    return tuple(chosen)
