"""What is measured, how good it must be and how good it is to be, and the table of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum

from rich.table import Table


@dataclass(frozen=True, slots=True)
class Figure:
    """One row; `floor` must be held, `goal` is what we are after."""

    key: str
    what: str
    unit: str
    floor: float
    goal: float
    is_more_better: bool = False

    def grade(self, value: float) -> str:
        """`goal`, `floor` or `missed`: the best that the value reaches."""
        sign = 1 if self.is_more_better else -1
        if sign * value >= sign * self.goal:
            return "goal"
        return "missed" if self.misses(value) else "floor"

    def misses(self, value: float) -> bool:
        """Whether the value does not hold the floor."""
        return value < self.floor if self.is_more_better else value > self.floor


COMPLETES_S = 3600
"""What takes longer is held to have stopped."""
FIGURES = (
    Figure("poll-fastapi", "unchanged poll, processor: FastAPI async / ours", "x", 4.5, 7, True),
    Figure("poll-nginx", "unchanged poll, processor: nginx 304 / ours", "%", 25, 40, True),
    Figure("poll-statements", "database statements per unchanged poll", "", 0, 0),
    Figure("reports-inserts", "reports/s, SQLite FULL: ours / one insert each", "x", 4, 6, True),
    Figure("reports-fastapi", "reports/s, SQLite FULL: ours / FastAPI sync", "x", 8, 12, True),
    Figure("reports-postgres", "reports/s, Postgres: ours / one insert each", "x", 1.8, 3, True),
    Figure("ingest", "ingest, SQLite", "rows/s", 20_000, 60_000, True),
    Figure("ingest-postgres", "ingest, Postgres", "rows/s", 20_000, 60_000, True),
    Figure("mixed-share", "polls beside reports and documents / alone, SQLite", "%", 40, 60, True),
    Figure("mixed-slowest", "slowest of those polls", "s", 1, 1),
    Figure("mixed-share-postgres", "the same polls, Postgres", "%", 40, 60, True),
    Figure("mixed-slowest-postgres", "slowest of those polls, Postgres", "s", 1, 1),
    Figure("parked-memory", "parked polls: memory each", "KiB", 16, 10),
    Figure("server-idle", "server idle: memory", "MB", 90, 70),
    Figure("server-parked", "server with 10,000 parked: memory", "MB", 300, 200),
    Figure("parked-woken", "parked polls: all woken within", "s", 2, 0.6),
    Figure("kills-missing", "acknowledged reports missing after SIGKILL", "", 0, 0),
    Figure("rollout", "whole rollout to a swarm, canary and rolling", "s", COMPLETES_S, 300),
    Figure("rollout-errors", "its error answers, and missing reports", "", 0, 0),
    Figure("pass-idle", "idle pass, 100 Deployments, SQLite", "ms", 1, 0.5),
    Figure("pass-idle-postgres", "idle pass, 100 Deployments, Postgres", "ms", 3, 1),
    Figure("pass-reports", "pass after 1,000 reports, SQLite: large / small", "x", 1.5, 1.1),
    Figure("pass-reports-postgres", "the same, Postgres", "x", 1.5, 1.1),
    Figure("next", "next 1,000 eligible, SQLite: large / small fleet", "x", 2, 1.3),
    Figure("next-postgres", "the same, Postgres", "x", 2, 1.3),
    Figure("open", "1,000 of the fleet opened and granted in a budget, SQLite", "ms", 150, 50),
    Figure("open-postgres", "the same, Postgres", "ms", 300, 100),
    Figure("verify", "a document on the device: verified / its signatures alone", "x", 3, 2),
    Figure("pages-page", "lists of devices on Postgres, p95: a page of them", "ms", 200, 80),
    Figure("pages-filter", "lists of devices on Postgres, p95: by a filter", "ms", 200, 80),
    Figure("pages-search", "lists of devices on Postgres, p95: by a part of the id", "ms", 200, 80),
)


@dataclass(frozen=True, slots=True)
class Measured:
    """What a row found: values by the key of their figure, and how they came about."""

    values: Mapping[str, float]
    details: Sequence[str]
    """For people."""
    left_out: Mapping[str, str] = field(default_factory=dict)
    """Why a figure was not measured, by its key."""
    unmet: Mapping[str, str] = field(default_factory=dict)
    """What of a figure's conditions did not hold while its value was measured, by its key."""


class Exit(IntEnum):
    """How the bench ends; 2 is what argparse says of bad words."""

    HELD = 0
    MISSED = 1
    """A floor is missed, or a row failed."""
    INCOMPLETE = 3
    """Every floor that was measured is held; a figure was not, or not under its conditions."""


def graded(found: Mapping[str, Measured], *, has_failed: bool) -> Exit:
    """How a bench ends that found this in its rows."""
    values = {key: value for row in found.values() for key, value in row.values.items()}
    if has_failed or any(each.misses(values[each.key]) for each in FIGURES if each.key in values):
        return Exit.MISSED
    if any(row.left_out or row.unmet for row in found.values()):
        return Exit.INCOMPLETE
    return Exit.HELD


def table_of(found: Mapping[str, Measured], before: Mapping[str, float]) -> Table:
    """Floors and goals beside what the rows found, and what an earlier run found.

    What was left out stands there as well. A value of unmet conditions may miss a floor, and
    reaches none.
    """
    values = {key: value for row in found.values() for key, value in row.values.items()}
    left_out = {key for row in found.values() for key in row.left_out}
    unmet = {key for row in found.values() for key in row.unmet}
    table = Table("what", "floor", "goal", "measured", "reaches", "before")
    for figure in FIGURES:
        former = before.get(figure.key)
        bounds = [_number(each, figure.unit) for each in (figure.floor, figure.goal)]
        last = "" if former is None else _number(former, figure.unit)
        if figure.key in values:
            value = values[figure.key]
            holds_otherwise = figure.key in unmet and not figure.misses(value)
            reaches = "unmet" if holds_otherwise else figure.grade(value)
            table.add_row(figure.what, *bounds, _number(value, figure.unit), reaches, last)
        elif figure.key in left_out:
            table.add_row(figure.what, *bounds, "not measured", "", last)
    return table


def _number(value: float, unit: str) -> str:
    return f"{value:,.3g} {unit}".rstrip() if value < 1000 else f"{value:,.0f} {unit}".rstrip()
