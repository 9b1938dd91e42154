"""What a swarm counts, and how it adds up."""

import pytest

from towline.schemas.problems import Problem
from towline.swarm.figures import (
    REFUSED,
    Figures,
    Latency,
    check_let_in,
    document,
    line,
    summary,
)


def latency(*milliseconds: float) -> Latency:
    found = Latency()
    for each in milliseconds:
        found.note(each / 1000)
    return found


@pytest.mark.parametrize(
    ("percent", "milliseconds"), [(1, 1.0), (50, 50.0), (95, 95.0), (99, 99.0), (100, 100.0)]
)
def test_a_percentile_is_true_to_a_step(percent: int, milliseconds: float) -> None:
    found = latency(*range(1, 101)).percentile(percent)
    assert found is not None
    assert milliseconds / 1000 <= found <= milliseconds / 1000 * 1.09


def test_no_call_has_no_percentile() -> None:
    assert Latency().percentile(50) is None


def test_what_takes_no_time_or_very_long_is_counted() -> None:
    assert sum(latency(0.0, 10_000_000.0).counts) == 2


def test_two_processes_add_up() -> None:
    one, other = Figures(reports=2), Figures(reports=3)
    for figures, kind in ((one, "report 503 busy"), (other, "poll closed")):
        figures.errors[kind] += 1
        figures.devices["waiting"] += 4
        figures.took("poll", 0.01)
    other.took("report", 0.02)
    one.add(other)
    assert one.reports == 5
    assert one.devices == {"waiting": 8}
    assert one.errors == {"report 503 busy": 1, "poll closed": 1}
    assert sum(one.latencies["poll"].counts) == 2
    assert sum(one.latencies["report"].counts) == 1


def test_a_line_tells_what_happened_since_the_last_one() -> None:
    before, now = Figures(reports=10), Figures(reports=60)
    now.polls["unchanged"] += 20
    now.errors["poll closed"] += 1
    now.devices["waiting"] += 3
    now.versions["app 1.0.0"] += 2
    words = "4 polls/s, 10 reports/s, 1 errors, 3 waiting, 2 app 1.0.0"
    assert line(now, before, 5.0) == words


def test_the_summary_and_the_document_name_every_error() -> None:
    figures = Figures()
    figures.errors["session 401 clock"] += 2
    assert "2 session 401 clock" in summary(figures, 1.0)
    assert document(figures, 1.0)["errors"] == {"session 401 clock": 2}


def test_a_swarm_that_is_let_in_in_part_is_no_problem() -> None:
    figures = Figures()
    check_let_in(figures)
    figures.devices.update({REFUSED: 2, "waiting": 1})
    check_let_in(figures)


def test_a_swarm_of_which_every_device_is_refused_is_a_problem() -> None:
    figures = Figures()
    figures.devices[REFUSED] += 3
    figures.errors.update({"enrol 403 join-token": 3, "poll closed": 1})
    with pytest.raises(Problem, match="3 of 3: 3 enrol 403 join-token") as problem:
        check_let_in(figures)
    assert "--max-uses 3" in problem.value.remedy
