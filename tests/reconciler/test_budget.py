"""The disruption budget's arithmetic: never over it, in any order, and nobody starves behind."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from towline.manifests.model import Budget
from towline.reconciler.budget import allowed, choose, full_groups

GROUPS = ("s1", "s2", "s3")


@pytest.mark.parametrize(
    ("amount", "is_share", "size", "expected"),
    [
        (1, False, 100, 1),
        (3, False, 2, 3),
        (10, True, 29, 2),
        (10, True, 9, 1),
        (10, True, 0, 1),
        (100, True, 7, 7),
    ],
)
def test_a_share_rounds_down_and_is_at_least_one(
    amount: int, is_share: bool, size: int, expected: int
) -> None:
    assert allowed(Budget("store", amount, is_share), size) == expected


def test_a_full_group_holds_back_its_own_devices_only() -> None:
    candidates = [(1, "s1"), (2, "s1"), (3, "s2"), (4, None), (5, "s1"), (6, "s2")]
    assert choose(candidates, {"s1": 1}, {}, Budget("store", 2), 10) == (1, 3, 4, 6)


def test_devices_without_the_label_do_not_hold_each_other_back() -> None:
    assert choose([(n, None) for n in range(5)], {}, {}, Budget("store", 1), 3) == (0, 1, 2)


def test_a_group_over_its_budget_gets_no_more() -> None:
    assert choose([(1, "s1")], {"s1": 5}, {}, Budget("store", 2), 10) == ()
    assert full_groups({"s1": 5, "s2": 1}, {}, Budget("store", 2)) == {"s1"}


@given(
    candidates=st.lists(st.sampled_from([*GROUPS, None]), max_size=40),
    away=st.dictionaries(st.sampled_from(GROUPS), st.integers(0, 6)),
    sizes=st.fixed_dictionaries({group: st.integers(1, 60) for group in GROUPS}),
    amount=st.integers(1, 100),
    is_share=st.booleans(),
    limit=st.integers(0, 40),
    cut=st.integers(0, 40),
)
def test_no_order_and_no_first_part_of_an_answer_goes_over_the_budget(
    candidates: list[str | None],
    away: dict[str, int],
    sizes: dict[str, int],
    amount: int,
    is_share: bool,
    limit: int,
    cut: int,
) -> None:
    budget = Budget("store", amount, is_share)
    chosen = choose(list(enumerate(candidates)), away, sizes, budget, limit)
    assert len(chosen) <= limit
    assert list(chosen) == sorted(chosen)
    added = Counter(group for n in chosen[:cut] if (group := candidates[n]) is not None)
    for group, n in added.items():
        assert away.get(group, 0) + n <= allowed(budget, sizes[group])
    if len(chosen) < limit:
        after = Counter(away) + Counter(g for n in chosen if (g := candidates[n]) is not None)
        left = {candidates[n] for n in range(len(candidates)) if n not in chosen}
        assert left <= full_groups(after, sizes, budget), "a device was held back without need"
