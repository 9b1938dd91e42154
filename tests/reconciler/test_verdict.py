"""The verdict table and the arithmetic of gates."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from towline.reconciler.store.targets import TargetGroup
from towline.reconciler.verdict import (
    Counts,
    Judgement,
    Tally,
    counts_as,
    judge,
    tally,
)
from towline.schemas.states import TargetState


def group(status: TargetState, reason: str = "", **flags: bool) -> TargetGroup:
    return TargetGroup(
        status, reason, flags.get("granted", True), flags.get("verified", False), flags.get("n", 1)
    )


@pytest.mark.parametrize(
    ("member", "expected"),
    [
        (group(TargetState.COMPLETED, verified=True), Counts.PASSED),
        (group(TargetState.COMPLETED), Counts.WORKING),
        (group(TargetState.ROLLED_BACK, "HealthCheckFailed"), Counts.FAILED),
        (group(TargetState.ROLLED_BACK, "RolledBackByUser"), Counts.EXCUSED),
        (group(TargetState.FAILED, "RollbackFailed"), Counts.FAILED),
        (group(TargetState.FAILED, "NoPrevious"), Counts.FAILED),
        (group(TargetState.FAILED, "TimedOut"), Counts.FAILED),
        (group(TargetState.FAILED, "ChecksumMismatch"), Counts.FAILED),
        (group(TargetState.FAILED, "Regressed"), Counts.FAILED),
        (group(TargetState.FAILED, "NoSpace"), Counts.EXCUSED),
        (group(TargetState.FAILED, "DownloadFailed"), Counts.EXCUSED),
        (group(TargetState.SKIPPED, "OfflineDeferred"), Counts.EXCUSED),
        (group(TargetState.PENDING, granted=False), Counts.WAITING),
        (group(TargetState.PENDING), Counts.WORKING),
        (group(TargetState.INSTALLING), Counts.WORKING),
    ],
)
def test_each_outcome_counts_as_the_manual_says(member: TargetGroup, expected: Counts) -> None:
    assert counts_as(member) is expected


def test_groups_add_up() -> None:
    members = [
        TargetGroup(TargetState.COMPLETED, "", True, True, 7),
        TargetGroup(TargetState.FAILED, "TimedOut", True, False, 2),
        TargetGroup(TargetState.PENDING, "Selected", False, False, 3),
    ]
    assert tally(members) == Tally(passed=7, failed=2, waiting=3)


def last(members: Tally, threshold: int = 95, size: int = 20) -> Judgement:
    return judge(members, threshold, size, is_last=True, has_evidence=False)


def test_nine_of_ten_pass_at_ninety_percent() -> None:
    assert last(Tally(passed=9, failed=1), threshold=90, size=10) is Judgement.PASSED


def test_a_batch_fails_as_soon_as_it_cannot_pass_any_more() -> None:
    assert last(Tally(failed=1, waiting=19)) is Judgement.OPEN
    assert last(Tally(failed=2, waiting=18)) is Judgement.FAILED


def test_before_the_last_half_of_the_members_must_have_given_a_verdict() -> None:
    def judged(passed: int) -> Judgement:
        members = Tally(passed=passed, excused=10 - passed)
        return judge(members, 95, 10, is_last=False, has_evidence=True)

    assert judged(5) is Judgement.PASSED
    assert judged(4) is Judgement.NO_EVIDENCE
    assert judge(Tally(excused=1), 95, 1, is_last=False, has_evidence=True) is (
        Judgement.NO_EVIDENCE
    )


def test_the_last_batch_needs_no_verdict_when_an_earlier_one_passed() -> None:
    silent = Tally(excused=3)
    assert judge(silent, 95, 3, is_last=True, has_evidence=True) is Judgement.PASSED
    assert judge(silent, 95, 3, is_last=True, has_evidence=False) is Judgement.NO_EVIDENCE


@given(
    passed=st.integers(0, 300),
    failed=st.integers(0, 300),
    outstanding=st.integers(0, 300),
    threshold=st.integers(1, 100),
)
def test_failed_means_that_no_future_passes(
    passed: int, failed: int, outstanding: int, threshold: int
) -> None:
    judgement = last(Tally(passed=passed, failed=failed, waiting=outstanding), threshold, 300)
    ends = [
        last(Tally(passed=passed + good, failed=failed + outstanding - good), threshold, 300)
        for good in (0, outstanding)
    ]
    if judgement is Judgement.FAILED:
        assert set(ends) == {Judgement.FAILED}
    elif passed + failed + outstanding:
        assert ends[1] is Judgement.PASSED
