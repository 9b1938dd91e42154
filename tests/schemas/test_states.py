"""The tables of states: complete, closed, and refusing what they lack."""

from itertools import product

import pytest

from towline.schemas.states import (
    ACTIVE_TARGETS,
    BATCH_MOVES,
    COLOURS,
    DECIDED_MOVES,
    GLYPHS,
    LATE_MOVES,
    LIVE_RUNS,
    REPORTED_MOVES,
    RUN_MOVES,
    VERBS,
    BatchState,
    IllegalMove,
    RunState,
    TargetState,
    Verb,
    move_batch,
    move_run,
    move_target,
)


def test_every_state_has_its_row() -> None:
    assert set(RUN_MOVES) == set(RunState)
    assert set(BATCH_MOVES) == set(BatchState)
    assert set(REPORTED_MOVES) == set(DECIDED_MOVES) == set(TargetState)
    assert set(VERBS) == set(Verb)


def test_every_status_word_has_a_glyph_and_a_colour() -> None:
    words = {*RunState, *TargetState, *BatchState}
    assert words == set(GLYPHS) == set(COLOURS)


@pytest.mark.parametrize(("before", "after"), list(product(RunState, RunState)))
def test_a_run_moves_only_by_its_table(before: RunState, after: RunState) -> None:
    if after is before or after in RUN_MOVES[before]:
        assert move_run(before, after) is after
    else:
        with pytest.raises(IllegalMove):
            move_run(before, after)


@pytest.mark.parametrize(("before", "after"), list(product(BatchState, BatchState)))
def test_a_batch_moves_only_by_its_table(before: BatchState, after: BatchState) -> None:
    if after in BATCH_MOVES[before]:
        assert move_batch(before, after) is after
    else:
        with pytest.raises(IllegalMove):
            move_batch(before, after)


@pytest.mark.parametrize(("before", "after"), list(product(TargetState, TargetState)))
def test_a_target_moves_only_by_its_tables(before: TargetState, after: TargetState) -> None:
    tables = (REPORTED_MOVES, DECIDED_MOVES, LATE_MOVES)
    if after is before or any(after in table.get(before, ()) for table in tables):
        assert move_target(before, after) is after
    else:
        with pytest.raises(IllegalMove):
            move_target(before, after)


def test_finished_runs_are_final_and_live_ones_can_finish() -> None:
    assert not RUN_MOVES[RunState.FAILED]
    assert not RUN_MOVES[RunState.CANCELLED]
    assert RUN_MOVES[RunState.COMPLETED] == {RunState.IN_PROGRESS}, "rolled back by a person"
    for state in LIVE_RUNS:
        assert RunState.CANCELLED in RUN_MOVES[state]


def test_reports_only_go_forward() -> None:
    order = [*ACTIVE_TARGETS, TargetState.COMPLETED, TargetState.FAILED, TargetState.ROLLED_BACK]
    for before, afters in REPORTED_MOVES.items():
        for after in afters:
            assert order.index(after) > order.index(before)
