"""Figures asked after a batch's soak: they pass it, fail it, or hold it while nobody can tell."""

from pathlib import Path

import pytest
from sqlalchemy import select

from tests.reconciler.simulation import ORGANIZATION, Simulation, manifest
from tests.reconciler.waking import HOUR, answer, ask, held, installed, shown, sleep, work
from towline.reconciler.acts import NotAllowed
from towline.reconciler.questions import due_questions
from towline.reconciler.store import analyses
from towline.reconciler.store import tables as t
from towline.reconciler.store.analyses import Outcome
from towline.schemas.states import Verb

PASSED, FAILED, UNKNOWN = Outcome.PASSED, Outcome.FAILED, Outcome.UNKNOWN
FIGURES = (
    "  analysis:\n"
    "    - {name: crashes, http: {url: 'http://prom/q', value: a.b}, pass: '< 1',"
    " interval: 1m, count: 2}\n"
)
CANARY = "  strategy: canary\n  order: name\n" + FIGURES


@pytest.fixture
def fleet(tmp_path: Path) -> Simulation:
    """Four devices on 1.0.0."""
    fleet = Simulation(tmp_path, devices=4)
    fleet.commit(manifest("1.0.0", "  strategy: immediate\n"))
    work(fleet)
    return fleet


def ship(fleet: Simulation, more: str = "") -> None:
    fleet.commit(manifest("2.0.0", CANARY + more))
    work(fleet)


def analysis_from(fleet: Simulation) -> list[int | None]:
    with fleet.store.read() as connection:
        rows = connection.execute(
            select(t.batches.c.analysis_from).where(t.batches.c.run_seq == fleet.run().seq)
        )
        return list(rows.scalars())


def is_asked(fleet: Simulation) -> bool:
    with fleet.store.read() as connection:
        return bool(analyses.waiting(connection, ORGANIZATION))


def test_figures_are_asked_after_the_soak_and_not_before(fleet: Simulation) -> None:
    ship(fleet, "  soak: 1h\n")
    sleep(fleet, HOUR - 1)
    assert (shown(fleet), analysis_from(fleet)) == (("in_progress", "Soaking"), [None])
    sleep(fleet, 1)
    assert (shown(fleet), analysis_from(fleet)) == (("in_progress", "Analyzing"), [fleet.now])


def test_enough_answers_in_a_row_that_pass_let_the_batch_pass(fleet: Simulation) -> None:
    ship(fleet)
    answer(fleet, PASSED)
    assert (shown(fleet), len(installed(fleet, "2.0.0"))) == (("in_progress", "Analyzing"), 1)
    answer(fleet, PASSED)
    assert shown(fleet)[0] == "completed"


def test_the_last_batch_is_not_asked_for(fleet: Simulation) -> None:
    ship(fleet)
    answer(fleet, PASSED, PASSED)
    assert analysis_from(fleet)[-1] is None


def test_figures_that_fail_hold_the_run(fleet: Simulation) -> None:
    ship(fleet)
    answer(fleet, FAILED)
    assert (shown(fleet), len(installed(fleet, "2.0.0"))) == (("paused", "AnalysisFailed"), 1)
    assert "it is failed" in fleet.run().message


def test_figures_that_fail_abort_where_the_manifest_says_so(fleet: Simulation) -> None:
    ship(fleet, "  onFailure: abort\n")
    answer(fleet, FAILED)
    assert (shown(fleet), installed(fleet, "2.0.0")) == (("failed", "Aborted"), {"till-1"})


def test_figures_that_fail_roll_back_where_the_manifest_says_so(fleet: Simulation) -> None:
    ship(fleet, "  onFailure: rollback\n")
    answer(fleet, FAILED)
    assert (shown(fleet), len(installed(fleet, "1.0.0"))) == (("failed", "RolledBack"), 4)


def test_retry_asks_the_figures_anew(fleet: Simulation) -> None:
    ship(fleet)
    answer(fleet, FAILED)
    fleet.now += 60
    ask(fleet, Verb.RETRY)
    work(fleet)
    assert (shown(fleet), analysis_from(fleet)) == (("in_progress", "Analyzing"), [fleet.now])
    answer(fleet, PASSED, PASSED)
    assert shown(fleet)[0] == "completed"


def test_accept_sets_failed_figures_aside_and_goes_on(fleet: Simulation) -> None:
    ship(fleet)
    answer(fleet, FAILED)
    ask(fleet, Verb.RESUME, accept=True)
    work(fleet)
    assert (shown(fleet)[0], len(installed(fleet, "2.0.0"))) == ("completed", 4)


def test_a_plain_resume_does_not_lift_failed_figures(fleet: Simulation) -> None:
    ship(fleet)
    answer(fleet, FAILED)
    with pytest.raises(NotAllowed, match="AnalysisFailed"):
        ask(fleet, Verb.RESUME)


def test_a_commit_that_takes_the_figures_away_does_not_undo_what_they_said(
    fleet: Simulation,
) -> None:
    ship(fleet)
    answer(fleet, FAILED)
    fleet.commit(manifest("2.0.0", "  strategy: canary\n  order: name\n"))
    assert (held(fleet), shown(fleet)) == ({"AnalysisFailed"}, ("paused", "AnalysisFailed"))


def test_answers_that_cannot_tell_hold_the_batch_and_never_pass_it(fleet: Simulation) -> None:
    ship(fleet)
    answer(fleet, PASSED, UNKNOWN)
    assert shown(fleet) == ("in_progress", "Analyzing")
    answer(fleet, UNKNOWN)
    assert shown(fleet) == ("paused", "AnalysisInconclusive")
    assert is_asked(fleet)


def test_a_clear_answer_lifts_the_wait_for_one(fleet: Simulation) -> None:
    ship(fleet)
    answer(fleet, UNKNOWN, UNKNOWN)
    answer(fleet, PASSED)
    assert (held(fleet), shown(fleet)) == (set(), ("in_progress", "Analyzing"))
    answer(fleet, PASSED)
    assert shown(fleet)[0] == "completed"


def test_a_clear_answer_that_fails_ends_the_wait_for_one_too(fleet: Simulation) -> None:
    ship(fleet)
    answer(fleet, UNKNOWN, UNKNOWN, FAILED)
    assert held(fleet) == {"AnalysisFailed"}


def test_a_person_may_let_a_batch_pass_that_nobody_can_tell_of(fleet: Simulation) -> None:
    ship(fleet)
    answer(fleet, UNKNOWN, UNKNOWN)
    ask(fleet, Verb.APPROVE)
    work(fleet)
    assert (shown(fleet)[0], len(installed(fleet, "2.0.0"))) == ("completed", 4)


def test_what_nobody_could_tell_of_before_a_retry_is_not_approved_after_it(
    fleet: Simulation,
) -> None:
    ship(fleet, "  paused: false\n")
    answer(fleet, UNKNOWN, UNKNOWN)
    fleet.commit(manifest("2.0.0", CANARY + "  paused: true\n"))
    ask(fleet, Verb.APPROVE)
    fleet.install_by_hand("till-1", "app", "1.0.0")
    fleet.settle()
    fleet.now += 60
    ask(fleet, Verb.RETRY)
    ask(fleet, Verb.RESUME)
    work(fleet)
    assert shown(fleet) == ("in_progress", "Analyzing")
    answer(fleet, UNKNOWN, UNKNOWN)
    assert shown(fleet) == ("paused", "AnalysisInconclusive")


def test_a_passed_member_that_regresses_while_figures_are_asked_fails_the_batch(
    fleet: Simulation,
) -> None:
    ship(fleet)
    fleet.install_by_hand("till-1", "app", "1.0.0")
    work(fleet)
    assert shown(fleet) == ("paused", "ThresholdNotMet")
    assert not is_asked(fleet)


def test_a_batch_is_approved_by_people_only_after_its_figures_passed(fleet: Simulation) -> None:
    half = "{name: half, size: 50%, approval: manual}"
    spec = f"  strategy: {{type: batches, batches: [{half}]}}\n{FIGURES}"
    fleet.commit(manifest("2.0.0", spec))
    work(fleet)
    assert shown(fleet) == ("in_progress", "Analyzing")
    answer(fleet, PASSED, PASSED)
    assert shown(fleet) == ("paused", "WaitingForApproval")


def test_a_paused_run_is_not_asked_for(fleet: Simulation) -> None:
    ship(fleet)
    ask(fleet, Verb.PAUSE)
    assert not is_asked(fleet)


def test_the_loop_wakes_for_the_next_question(fleet: Simulation) -> None:
    ship(fleet)
    answer(fleet, PASSED)
    with fleet.store.read() as connection:
        asked = due_questions(connection, fleet.head, fleet.now)
    assert (fleet.run().next_due, asked.next_at) == (fleet.now + 60, fleet.now + 60)
