"""The bench's parts, with tiny numbers: that they run, and that they measure what they say."""

import asyncio
import itertools
from dataclasses import replace
from typing import cast

import pytest

from bench import ingest, mixed, page_calls, pages, polls, reports, verify
from bench.figures import Figure
from bench.load import Line, Loaded
from bench.polls import Size
from towline.schemas import strict_json
from towline.schemas.reports import parse_many

TINY = Size(repeats=1, seconds=0.2, connections=16)
"""Of so many devices none calls more often than one may, which is answered otherwise."""


def test_unchanged_polls_ask_the_database_nothing_beside_the_twin() -> None:
    """Both sides answer 304 to every poll, or the load raises."""
    found = polls.measure(TINY)
    assert found.values["poll-statements"] == 0
    assert found.values["poll-fastapi"] > 0


def test_a_report_that_is_sent_is_one() -> None:
    """A load of refused reports would measure nothing; numbers rise and lengths stay."""
    numbers = itertools.count(reports.FIRST)
    connection = reports.connection_of(0, numbers, TINY)
    sent = [connection().partition(b"\r\n\r\n") for _ in range(reports.DEVICES_EACH + 1)]
    for head, _, body in sent:
        assert b"Content-Length: %d\r\n" % len(body) in head + b"\r\n"
    parsed = [parse_many(strict_json.parse(body))[0] for _, _, body in sent]
    assert [each.report_seq - reports.FIRST for each in parsed] == list(range(len(sent)))
    assert len({head for head, _, _ in sent}) == reports.DEVICES_EACH


def test_reports_are_held_against_one_insert_each_on_the_same_stack() -> None:
    """On both engines; Towline with each report in its own commit does more than that base."""
    rates = {
        "towline": 9000,
        "towline, each alone": 900,
        "insert each, raw ASGI": 1800,
        "insert each, FastAPI sync": 1000,
        "towline, Postgres": 6000,
        "towline, Postgres, each alone": 600,
        "insert each, raw ASGI, Postgres, 8 connections": 3000,
    }
    found = reports.told({name: [Loaded(rate, 1, 1)] for name, rate in rates.items()})
    assert found.values == {"reports-inserts": 5, "reports-fastapi": 9, "reports-postgres": 2}
    assert "each report in its own commit: 10.00 x on SQLite" in "\n".join(found.details)


def test_a_device_verifies_what_its_signatures_are_measured_beside() -> None:
    """The ratio itself is the row's: a test of it would be one of the machine's other work."""
    found = verify.measure(turns=2)
    assert found.values["verify"] > 0
    assert len(found.details) >= len(verify.COMPONENTS)


def test_lists_and_pages_are_answered_over_the_store_that_is_measured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever is not 200 ends the run."""
    monkeypatch.setattr("bench.pages.CALLS_OF_DEVICES", page_calls.CALLS_OF_DEVICES[::5])
    monkeypatch.setattr("bench.pages.OTHERS", page_calls.OTHERS[::3])
    found = pages.measure(60, 1, "sqlite")
    assert set(found.values) == {"pages-page", "pages-filter", "pages-search"}


@pytest.mark.parametrize(
    ("number", "rank"), [(1, 1), (10, 10), (19, 19), (20, 19), (40, 38), (100, 95), (101, 96)]
)
def test_the_95th_percentile_is_of_the_nearest_rank(number: int, rank: int) -> None:
    """Of ten times it is the largest: one in ten is more than 5 %."""
    assert pages.p95([float(each) for each in range(number, 0, -1)]) == rank


def test_reports_that_are_taken_in_are_acknowledged(monkeypatch: pytest.MonkeyPatch) -> None:
    """A report that were dropped as an old one would be no row."""
    monkeypatch.setattr(ingest, "WARM_UP", 1)
    monkeypatch.setattr(ingest, "ROUNDS", 1)
    monkeypatch.setattr(ingest, "WAITING", 600)
    found = ingest.rates(3000, None)
    assert found.ordinary > 0
    assert found.updated > 0
    assert found.kept == 600


def test_polls_are_counted_while_reports_and_documents_are_made() -> None:
    """Each kind of answer has the status that it must have, or the load raises."""
    found = mixed.measure(replace(TINY, connections=40), documents=20)
    for engine in ("", "-postgres"):
        assert found.values[f"mixed-share{engine}"] > 0
        assert 0 < found.values[f"mixed-slowest{engine}"] < 10


def test_polls_beside_too_few_reports_are_told_with_the_share_that_came() -> None:
    """They are quicker than those that the figure is of."""
    assert mixed.short_of(5000, 4500) is None
    words = mixed.short_of(5000, 1600)
    assert words is not None
    assert "5,000/s" in words and "1,600/s" in words
    assert "32 % of that, 16 % of the ceiling" in words


@pytest.mark.parametrize(
    ("is_more_better", "value", "grade"),
    [
        (True, 5, "goal"),
        (True, 3, "floor"),
        (True, 2.9, "missed"),
        (False, 3, "goal"),
        (False, 5, "floor"),
        (False, 5.1, "missed"),
    ],
)
def test_a_value_reaches_goal_or_floor_or_nothing(
    is_more_better: bool, value: float, grade: str
) -> None:
    """The bound itself is held, whichever way is better."""
    floor, goal = (3, 5) if is_more_better else (5, 3)
    assert Figure("k", "w", "", floor, goal, is_more_better).grade(value) == grade


def test_an_answer_of_another_status_is_no_silence() -> None:
    """It ends the load at once, whether it has a body or not."""
    line = Line(lambda: b"", b" 304 ")
    line._transport = cast(asyncio.Transport, Closing())
    line.data_received(b"HTTP/1.1 429 Too Many Requests\r\ncontent-length: 2\r\n\r\n{}")
    assert line.unexpected.startswith(b"HTTP/1.1 429")


class Closing:
    """A transport that is closed."""

    def close(self) -> None:
        """It is."""
