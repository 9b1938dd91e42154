"""Which devices a Deployment may grant now without going over its disruption budget.

Candidates come in pages and in order; a full group holds back its own devices only, so that those
behind them are reached however many there are.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from sqlalchemy import ColumnElement, Connection

from towline.manifests.model import Budget
from towline.reconciler.budget import choose, full_groups
from towline.reconciler.store import budgets

Pages = Callable[[ColumnElement[bool]], Iterable[Sequence[int]]]
"""Pages of candidates, in order, that satisfy a condition over `edge_devices`."""


def groups_in_full(connection: Connection, organization: str, budget: Budget) -> frozenset[str]:
    """The groups of the organization that have as many devices away as the budget allows."""
    away = budgets.away_by_group(connection, organization, budget.group_by)
    return full_groups(away, _sizes(connection, organization, budget, set(away)), budget)


def within_budget(
    connection: Connection, organization: str, budget: Budget, pages: Pages, limit: int
) -> tuple[int, ...]:
    """At most `limit` devices, in order, for which the budget has room.

    Any first part of the answer keeps the budget too. Read and grant in one transaction.
    """
    away = Counter(budgets.away_by_group(connection, organization, budget.group_by))
    sizes = _sizes(connection, organization, budget, set(away))
    where = budgets.outside(budget.group_by, full_groups(away, sizes, budget))
    chosen: list[int] = []
    for page in pages(where):
        groups = budgets.group_of(connection, page, budget.group_by)
        unknown = {group for group in groups.values() if group is not None} - sizes.keys()
        sizes |= _sizes(connection, organization, budget, unknown)
        candidates = [(device, groups[device]) for device in page]
        taken = choose(candidates, away, sizes, budget, limit - len(chosen))
        away.update(group for device in taken if (group := groups[device]) is not None)
        chosen += taken
        if len(chosen) >= limit:
            break
    return tuple(chosen)


def _sizes(
    connection: Connection, organization: str, budget: Budget, groups: set[str]
) -> dict[str, int]:
    """Counting a group is only worth it for a share."""
    if not (budget.is_share and groups):
        return {}
    return budgets.sizes_by_group(connection, organization, budget.group_by, groups)
