"""What an answer says, exactly, and where an analysis stands after any history of answers."""

import json
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from towline.manifests.model import Analysis
from towline.reconciler.analysis import (
    Standing,
    State,
    read_answer,
    standing,
    together,
)
from towline.reconciler.store.analyses import Answer, Outcome

RATE = Analysis("crash-rate", "http://prom/", "data.result.0.value.1", "<", "0.01", 300, 3)
HITS = replace(RATE, value="hits")
SINCE = 1000


def prometheus(value: object) -> bytes:
    return json.dumps({"data": {"result": [{"value": [1.5, value]}]}}).encode()


def outcome(body: bytes, analysis: Analysis = RATE) -> Outcome:
    return read_answer(body, analysis, SINCE).outcome


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("0.005", Outcome.PASSED),
        (0.005, Outcome.PASSED),
        (0, Outcome.PASSED),
        ("-3", Outcome.PASSED),
        ("9.99e-3", Outcome.PASSED),
        ("0.01", Outcome.FAILED),
        (7, Outcome.FAILED),
        ("NaN", Outcome.UNKNOWN),
        ("+Inf", Outcome.UNKNOWN),
        ("sNaN", Outcome.UNKNOWN),
        (" 0", Outcome.UNKNOWN),
        ("0_0", Outcome.UNKNOWN),
        ("\u0660", Outcome.UNKNOWN),
        ("", Outcome.UNKNOWN),
        (None, Outcome.UNKNOWN),
        (True, Outcome.UNKNOWN),
        ([], Outcome.UNKNOWN),
        ({}, Outcome.UNKNOWN),
        ("0" * 101, Outcome.UNKNOWN),
        ("1e9999999", Outcome.UNKNOWN),
    ],
)
def test_a_figure_is_a_plain_number_or_cannot_be_told(value: object, expected: Outcome) -> None:
    assert outcome(prometheus(value)) is expected


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"\xff\xfe\xff",
        b"{}",
        b"[]",
        b"0.005",
        b'{"data": {"result": []}}',
        b'{"data": {"result": {"00": 1}}}',
        b'{"data": {"result": [{"value": [0.005]}]}}',
        b'{"data": NaN}',
        b"[" * 100_000,
    ],
)
def test_an_answer_without_the_figure_cannot_be_told(body: bytes) -> None:
    assert outcome(body) is Outcome.UNKNOWN


def test_a_constant_that_is_no_json_is_no_figure() -> None:
    assert outcome(b'{"hits": NaN}', HITS) is Outcome.UNKNOWN
    assert outcome(b'{"hits": -Infinity}', HITS) is Outcome.UNKNOWN


@pytest.mark.parametrize("path", ["-1", "²", "1", "00000000000"])
def test_a_list_is_stepped_into_by_a_plain_index_only(path: str) -> None:
    assert outcome(b"[0]", replace(RATE, value=path)) is Outcome.UNKNOWN


def test_figures_are_compared_exactly_and_not_as_floats() -> None:
    body = b'{"hits": 0.0100000000000000000000000001}'
    assert outcome(body, HITS) is Outcome.FAILED
    assert outcome(body, replace(HITS, comparison="==")) is Outcome.FAILED
    assert outcome(body, replace(HITS, comparison=">")) is Outcome.PASSED


@given(
    figure=st.decimals(allow_nan=False, allow_infinity=False, places=3, min_value=-9, max_value=9),
    bound=st.decimals(allow_nan=False, allow_infinity=False, places=2, min_value=-9, max_value=9),
)
def test_every_comparison_says_what_it_says(figure: Decimal, bound: Decimal) -> None:
    body = b'{"hits": "%s"}' % str(figure).encode()
    passed = {
        comparison
        for comparison in ("<", "<=", ">", ">=", "==", "!=")
        if outcome(body, replace(HITS, comparison=comparison, bound=str(bound))) is Outcome.PASSED
    }
    expected = {"<", "<=", "!="} if figure < bound else {">", ">=", "!="}
    assert passed == ({"<=", ">=", "=="} if figure == bound else expected)


def test_the_message_names_the_figure_and_the_bound() -> None:
    assert read_answer(prometheus("0.5"), RATE, 7) == Answer(
        7, Outcome.FAILED, "0.5", "0.5 is not < 0.01"
    )


def answers(word: str, start: int = SINCE) -> list[Answer]:
    """One answer per letter (p, f, u), 300 seconds apart."""
    names = {"p": Outcome.PASSED, "f": Outcome.FAILED, "u": Outcome.UNKNOWN}
    return [Answer(start + 300 * n, names[c], message=c) for n, c in enumerate(word)]


@pytest.mark.parametrize(
    ("word", "state", "next_ask_at"),
    [
        ("", State.ASKING, 1000),
        ("p", State.ASKING, 1300),
        ("pp", State.ASKING, 1600),
        ("ppp", State.PASSED, None),
        ("f", State.FAILED, None),
        ("ppf", State.FAILED, None),
        ("uu", State.ASKING, 1600),
        ("uuu", State.INCONCLUSIVE, 1900),
        ("uuuu", State.INCONCLUSIVE, 2200),
        ("uuup", State.ASKING, 2200),
        ("uuuf", State.FAILED, None),
        ("pup", State.ASKING, 1900),
        ("pupp", State.ASKING, 2200),
        ("puppp", State.PASSED, None),
    ],
)
def test_where_an_analysis_of_three_stands(
    word: str, state: State, next_ask_at: int | None
) -> None:
    found = standing(answers(word), RATE, SINCE)
    assert (found.state, found.next_ask_at) == (state, next_ask_at)


def test_answers_from_before_the_analysis_began_do_not_count() -> None:
    assert standing(answers("ppp", SINCE - 600), RATE, SINCE).state is State.ASKING
    assert standing(answers("fppp", SINCE - 300), RATE, SINCE).state is State.PASSED


def test_a_standing_says_how_far_it_is() -> None:
    assert standing(answers("up"), RATE, SINCE).message == "crash-rate: 1 of 3 in a row passed"
    assert standing(answers("pu"), RATE, SINCE).message == "crash-rate: 0 of 3 in a row passed (u)"
    assert standing(answers("ppf"), RATE, SINCE).message == "crash-rate: f"


@given(st.text("pfu", max_size=12), st.integers(1, 5))
def test_it_passes_only_after_count_passes_in_a_row_and_asks_on_unless_it_is_clear(
    word: str, count: int
) -> None:
    found = standing(answers(word), replace(RATE, count=count), SINCE)
    assert (found.state is State.PASSED) == (word[-count:] == "p" * count)
    assert (found.state is State.FAILED) == ("f" in word[-count:])
    assert (found.state is State.INCONCLUSIVE) == (word[-count:] == "u" * count)
    assert (found.next_ask_at is None) == (found.state in (State.PASSED, State.FAILED))


def test_the_gravest_figure_speaks_for_the_batch() -> None:
    passed = Standing(State.PASSED, "a")
    asking, later = Standing(State.ASKING, "b", 20), Standing(State.ASKING, "c", 30)
    unclear, failed = Standing(State.INCONCLUSIVE, "d", 25), Standing(State.FAILED, "e")
    assert together([]).state is State.PASSED
    assert together([passed, passed]) == Standing(State.PASSED, "a; a")
    assert together([later, passed, asking]) == Standing(State.ASKING, "c; b", 20)
    assert together([asking, unclear]) == Standing(State.INCONCLUSIVE, "d", 20)
    assert together([asking, unclear, failed]) == Standing(State.FAILED, "e")
