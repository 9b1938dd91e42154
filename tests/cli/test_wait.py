"""What a run's state means for a script, and which run a commit asks for."""

from typing import Any

import pytest

from towline.cli.durations import seconds
from towline.cli.exit_codes import ExitCode
from towline.cli.wait import judge
from towline.cli.wanted_run import Wanted, choose, is_applied
from towline.schemas.problems import Problem

COMMIT, LATER = "a" * 40, "b" * 40


def run(status: str, *holds: str) -> dict[str, Any]:
    return {"status": status, "holds": [{"reason": reason} for reason in holds]}


@pytest.mark.parametrize(
    ("found", "code"),
    [
        (run("completed"), ExitCode.OK),
        (run("failed"), ExitCode.ROLLOUT_FAILED),
        (run("cancelled"), ExitCode.ROLLOUT_FAILED),
        (run("paused", "ThresholdNotMet"), ExitCode.ROLLOUT_FAILED),
        (run("paused", "AnalysisFailed"), ExitCode.ROLLOUT_FAILED),
        (run("paused", "PausedByUser", "NoEvidence"), ExitCode.ROLLOUT_FAILED),
        (run("paused", "PausedByUser"), None),
        (run("paused", "PausedInGit"), None),
        (run("pending"), None),
        (run("in_progress"), None),
    ],
)
def test_a_run_is_judged_when_it_is_over_or_a_gate_holds_it(
    found: dict[str, Any], code: ExitCode | None
) -> None:
    assert judge(found) is code


@pytest.mark.parametrize(("text", "number"), [("90s", 90), ("30m", 1800), ("2h", 7200)])
def test_a_timeout_has_a_unit(text: str, number: int) -> None:
    assert seconds(text) == number


@pytest.mark.parametrize("text", ["30", "m", "1.5h", "-1s", ""])
def test_a_timeout_without_a_unit_is_refused(text: str) -> None:
    with pytest.raises(Problem, match="is no duration"):
        seconds(text)


def listed(*pairs: tuple[str, str]) -> list[dict[str, str]]:
    """Runs as (revision, commit), newest first."""
    return [{"revision": revision, "commit": commit} for revision, commit in pairs]


def test_a_former_run_of_the_same_revision_is_not_taken_for_a_return() -> None:
    runs = listed(("bad", LATER), ("good", "c" * 40))
    assert choose(runs, Wanted(COMMIT, "good"), applied=COMMIT) is None


def test_the_newest_run_counts_when_it_delivers_what_the_commit_wants() -> None:
    runs = listed(("good", "c" * 40), ("bad", LATER))
    assert choose(runs, Wanted(COMMIT, "good"), applied=COMMIT) is runs[0]


def test_a_run_lies_below_once_a_later_commit_is_in_force() -> None:
    runs = listed(("newer", LATER), ("good", COMMIT))
    assert choose(runs, Wanted(COMMIT, "good"), applied=LATER) is runs[1]


def test_away_from_the_repository_the_run_is_known_by_its_commit() -> None:
    runs = listed(("good", LATER), ("good", COMMIT))
    assert choose(runs, Wanted(COMMIT[:12]), applied=COMMIT) is runs[1]
    assert choose(runs[:1], Wanted(COMMIT[:12]), applied=COMMIT) is None


def repository(applied: str | None, held: str | None = None) -> dict[str, Any]:
    return {"applied_commit": applied, "held_commit": held, "hold_reason": "not a descendant"}


def test_a_commit_is_applied_when_the_server_says_so() -> None:
    assert is_applied(Wanted(COMMIT[:12]), repository(COMMIT))
    assert not is_applied(Wanted(COMMIT), repository(LATER))
    assert not is_applied(Wanted(COMMIT), repository(None))


def test_a_held_commit_is_said_with_its_reason_and_the_way_out() -> None:
    with pytest.raises(Problem, match="not a descendant") as refused:
        is_applied(Wanted(COMMIT), repository(LATER, held=COMMIT))
    assert f"towline repo accept {COMMIT}" in refused.value.remedy
