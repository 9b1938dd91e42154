"""Strategies as batches, and batches as numbers of devices."""

from fractions import Fraction
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.manifests.texts import load_one, manifest
from towline.manifests.expand import batch_size
from towline.manifests.model import BatchPlan, Ownership, SizeKind

_SHARE, _REST = SizeKind.SHARE, SizeKind.REST


def _batches(*lines: str) -> tuple[BatchPlan, ...]:
    return load_one(manifest(*lines)).batches


def _sizes(*lines: str) -> list[tuple[str, SizeKind, int]]:
    return [(plan.name, plan.size, plan.amount) for plan in _batches(*lines)]


@pytest.mark.parametrize(
    ("strategy", "sizes"),
    [
        ("canary", [("canary", _SHARE, 10), ("rest", _REST, 0)]),
        ("{type: canary, percentage: 25}", [("canary", _SHARE, 25), ("rest", _REST, 0)]),
        ("{type: canary, percentage: 100}", [("canary", _REST, 0)]),
        ("immediate", [("rest", _REST, 0)]),
        (
            "rolling",
            [*((f"step-{n}", _SHARE, 20 * n) for n in (1, 2, 3, 4)), ("rest", _REST, 0)],
        ),
        (
            "{type: rolling, batchSize: 40%}",
            [("step-1", _SHARE, 40), ("step-2", _SHARE, 80), ("rest", _REST, 0)],
        ),
        ("{type: rolling, batchSize: 100%}", [("rest", _REST, 0)]),
        (
            "{type: batches, batches: [{name: a, size: 5%}, {name: b, size: 50%}]}",
            [("a", _SHARE, 5), ("b", _SHARE, 50), ("rest", _REST, 0)],
        ),
        (
            "{type: batches, batches: [{name: a, size: 5%}, {name: b, size: 100%}]}",
            [("a", _SHARE, 5), ("b", _REST, 0)],
        ),
        (
            "{type: batches, batches: [{name: a, size: 100%, filters: {labels: {s: lab}}}]}",
            [("a", _SHARE, 100), ("rest", _REST, 0)],
        ),
    ],
)
def test_a_strategy_is_a_list_of_batches(
    strategy: str, sizes: list[tuple[str, SizeKind, int]]
) -> None:
    assert _sizes(f"strategy: {strategy}") == sizes


def test_manual_is_one_batch_of_the_named() -> None:
    assert _sizes("strategy: manual", "filters: {devices: [a]}") == [("rest", _REST, 0)]


def test_rolling_has_a_least_number_of_devices_in_its_steps() -> None:
    assert {plan.min_devices for plan in _batches("strategy: rolling")[:-1]} == {5}
    own = _batches("strategy: {type: rolling, minDevices: 2}")
    assert {plan.min_devices for plan in own[:-1]} == {2}


def test_a_batch_says_its_own_threshold_and_soak_or_has_those_of_the_spec() -> None:
    strategy = (
        "strategy: {type: batches, batches: "
        "[{name: a, size: 5%, successThreshold: 100%, soak: 0s}, {name: b, size: 9%}]}"
    )
    own, common, rest = _batches(strategy, "soak: 1h", "successThreshold: 80%")
    assert (own.success_threshold, own.soak_s) == (100, 0)
    assert (common.success_threshold, common.soak_s) == (80, 3600)
    assert (rest.success_threshold, rest.soak_s) == (80, 0)


def test_a_batch_with_filters_keeps_them() -> None:
    strategy = "{type: batches, batches: [{name: a, size: 5%, filters: {labels: {s: lab}}}]}"
    first, rest = _batches(f"strategy: {strategy}")
    assert first.ownership == Ownership(labels=(("s", ("lab",)),))
    assert rest.ownership is None


def _size(share: int, so_far: int, matching: int, least: int = 0) -> int:
    plan = BatchPlan("x", _SHARE, share, min_devices=least)
    return batch_size(plan, targets_so_far=so_far, matching=matching)


@pytest.mark.parametrize(
    ("share", "so_far", "matching", "least", "size"),
    [
        (10, 0, 8, 0, 1),
        (10, 0, 100, 0, 10),
        (10, 0, 101, 0, 11),
        (1, 0, 1, 0, 1),
        (90, 0, 2, 0, 1),
        (99, 0, 3, 0, 2),
        (100, 0, 3, 0, 3),
        (50, 10, 90, 0, 40),
        (50, 60, 40, 0, 0),
        (10, 0, 0, 0, 0),
        (20, 0, 10, 5, 5),
        (40, 5, 5, 5, 0),
        (60, 5, 5, 5, 5),
        (20, 0, 5, 5, 5),
        (20, 0, 4, 5, 4),
        (20, 0, 100, 5, 20),
    ],
)
def test_a_share_is_so_many_devices(
    share: int, so_far: int, matching: int, least: int, size: int
) -> None:
    assert _size(share, so_far, matching, least) == size


def test_the_rest_is_everything_and_a_count_is_itself() -> None:
    assert batch_size(BatchPlan("r", _REST), targets_so_far=3, matching=7) == 7
    count = BatchPlan("first", SizeKind.COUNT, 1)
    assert batch_size(count, targets_so_far=3, matching=7) == 1
    assert batch_size(count, targets_so_far=3, matching=0) == 0


_counts = st.integers(0, 1_000_000)
_shares = st.integers(1, 100)


@given(_shares, _counts, _counts, st.integers(0, 20))
def test_a_batch_never_takes_more_than_matches(
    share: int, so_far: int, matching: int, least: int
) -> None:
    assert 0 <= _size(share, so_far, matching, least) <= matching


@given(_shares, _counts, _counts)
def test_a_share_reaches_its_goal_and_leaves_somebody(
    share: int, so_far: int, matching: int
) -> None:
    everybody = so_far + matching
    reached = so_far + _size(share, so_far, matching)
    goal = ceil(Fraction(share * everybody, 100))
    if share < 100 and everybody >= 2:
        goal = min(goal, everybody - 1)
    assert reached == max(goal, so_far)


@given(_counts, _counts, _shares, _shares)
def test_a_larger_share_is_never_fewer_devices(
    so_far: int, matching: int, one: int, other: int
) -> None:
    small, large = sorted((one, other))
    assert _size(small, so_far, matching) <= _size(large, so_far, matching)


@given(st.integers(0, 3000), st.integers(1, 100), st.integers(1, 40))
def test_a_rolling_rollout_takes_everybody_once_in_steps_that_are_large_enough(
    fleet: int, step: int, least: int
) -> None:
    batches = _batches(f"strategy: {{type: rolling, batchSize: {step}%, minDevices: {least}}}")
    so_far, sizes = 0, []
    for plan in batches:
        size = batch_size(plan, targets_so_far=so_far, matching=fleet - so_far)
        so_far += size
        sizes.append(size)
    taken = [size for size in sizes if size]
    assert so_far == fleet
    assert all(size >= least for size in taken[:-1])
