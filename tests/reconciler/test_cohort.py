"""The order of a run: a permutation, the same both ways, different for each revision."""

import itertools
from hashlib import sha256

from hypothesis import given
from hypothesis import strategies as st

from towline.reconciler.cohort import order_for


def revision(text: str) -> str:
    return sha256(text.encode()).hexdigest()


@given(st.text(), st.integers(0, 3000))
def test_every_device_has_one_position_and_back(text: str, highest: int) -> None:
    order = order_for(revision(text), highest)
    assert order.p > highest
    positions = [order.position(seq) for seq in range(order.p)]
    assert sorted(positions) == list(range(order.p))
    assert all(order.device(position) == seq for seq, position in enumerate(positions))


def test_devices_enrolled_after_the_freeze_come_last() -> None:
    order = order_for(revision("a"), 100)
    assert order.position(order.p + 5) == order.p + 5


def test_other_devices_go_first_in_another_revision() -> None:
    firsts = {order_for(revision(str(n)), 1000).device(0) for n in range(50)}
    assert len(firsts) > 40


def test_a_small_cohort_does_not_hold_neighbours() -> None:
    order = order_for(revision("spread"), 2003)
    cohort = sorted(order.device(position) for position in range(20))
    gaps = [b - a for a, b in itertools.pairwise(cohort)]
    assert min(gaps) >= order.p // 128


def test_the_order_of_today_stays() -> None:
    order = order_for(revision("pinned"), 1000)
    assert [order.device(position) for position in range(5)] == [502, 510, 518, 526, 534]
