"""Token buckets against a model that keeps every time, and their bounded memory."""

from hypothesis import given
from hypothesis import strategies as st

from towline.reconciler.server.buckets import Buckets

BURST, PER_S = 5, 0.5
STEPS = st.lists(st.tuples(st.sampled_from("ab"), st.floats(0, 20)), max_size=40)


@given(STEPS)
def test_no_key_gets_more_than_its_burst_and_its_rate(steps: list[tuple[str, float]]) -> None:
    buckets, now = Buckets(BURST, PER_S), 1000.0
    given_at: dict[str, list[float]] = {"a": [], "b": []}
    for key, pause in steps:
        now += pause
        wait_s = buckets.take(key, now)
        if wait_s == 0:
            given_at[key].append(now)
        else:
            assert 1 <= wait_s <= 1 / PER_S
    for times in given_at.values():
        for first in range(len(times)):
            for last in range(first, len(times)):
                within = times[last] - times[first]
                assert last - first + 1 <= BURST + within * PER_S + 1e-6


@given(st.integers(1, 30))
def test_who_waits_as_long_as_is_said_gets_one(taken: int) -> None:
    buckets = Buckets(BURST, PER_S)
    waits = [buckets.take("a", 7.0) for _ in range(taken)]
    assert waits == [0] * min(taken, BURST) + [2] * (taken - BURST)
    if waits[-1]:
        assert buckets.take("a", 7.0 + waits[-1]) == 0


def test_who_only_asks_is_told_the_same_and_takes_nothing() -> None:
    buckets = Buckets(BURST, PER_S)
    for _ in range(BURST):
        assert buckets.wait_s("a", 7.0) == 0
        assert buckets.take("a", 7.0) == 0
    assert [buckets.wait_s("a", 7.0) for _ in range(3)] == [2] * 3
    assert buckets.wait_s("a", 9.0) == buckets.take("a", 9.0) == 0


def test_a_clock_that_goes_back_gives_nothing_away_and_does_not_lock_out() -> None:
    buckets = Buckets(1, 1.0)
    assert buckets.take("a", 1000.0) == 0
    assert buckets.take("a", 10.0) == 1
    assert buckets.take("a", 11.0) == 0


def test_as_many_keys_as_somebody_invents_are_not_kept() -> None:
    buckets = Buckets(1, 1.0, most=100)
    for number in range(1000):
        assert buckets.take(str(number), 1.0) == 0
    assert len(buckets) == 100
    assert buckets.take("999", 1.0) == 1
