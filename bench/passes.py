"""What passes of the reconciler cost with few and with many devices, a hundred Deployments active.

Both fleets are there at once and are measured in turns, so that what else the machine does falls on
both; a figure is of medians of three turns or more. Times are of the processor, the database's own
included: other work on the machine slows the clock.
"""

import statistics
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from bench import crowd, machine
from bench.figures import Measured
from bench.pass_fleet import Side, made, place
from bench.pass_openings import (
    begin_careful,
    begin_lots,
    begin_tenth,
    begin_wide,
    next_batch,
    next_in_budget,
    next_lot,
    next_of_fleet,
)
from bench.pass_reports import DEPLOYMENTS, REPORTS, STEPS, after_reports, begin_parts, idle

TURNS = len(crowd.LOTS) - 1
"""Of each piece of work on each fleet."""
LEAST = 20 * TURNS * crowd.LOT
"""Devices: a batch of 5 % has then the members that are replaced and granted in all turns."""


@dataclass(frozen=True, slots=True)
class _Part:
    """Work over Deployments of its own: what is set up once, and what is measured in turns."""

    begin: Callable[[Side], None]
    turns: Sequence[Callable[[Side], Mapping[str, float]]]


_PARTS = (
    _Part(begin_lots, [next_lot]),
    _Part(begin_wide, [next_of_fleet]),
    _Part(begin_careful, [next_in_budget]),
    _Part(begin_tenth, [next_batch]),
    _Part(begin_parts, [idle, after_reports]),
)


@dataclass(frozen=True, slots=True)
class Costs:
    """Of one fleet: medians in milliseconds."""

    devices: int
    engine: str
    of: Mapping[str, float]

    @property
    def reports(self) -> float:
        """The passes after 1,000 devices went through all steps."""
        return sum(self.of[step] for step in STEPS)

    @property
    def words(self) -> str:
        """For people."""
        of = self.of
        of_reports = ", ".join(f"{of[step]:.0f}" for step in STEPS)
        return (
            f"{self.engine}, {self.devices:,} devices: idle pass {of['idle']:.2f} ms; passes after"
            f" {REPORTS:,} reports {of_reports} ms ({', '.join(STEPS)}); next {crowd.LOT:,}"
            f" {of['next']:.0f} ms, with their grants in a budget {of['more']:.0f} ms; a new batch"
            f" of {of['batch size']:,.0f} {of['batch opened']:.0f} ms, with its grants in a budget"
            f" {of['batch']:.0f} ms; a batch of {crowd.LOT:,} by filters of its own"
            f" {of['own filters']:.0f} ms; beginning"
            f" {DEPLOYMENTS} Deployments, once, {of['begin'] / 1000:.1f} s; load {machine.load()}"
        )


FIGURES: Mapping[str, Callable[[Costs, Costs], float]] = {
    "pass-idle": lambda _, many: many.of["idle"],
    "pass-reports": lambda few, many: many.reports / few.reports,
    "next": lambda few, many: many.of["next"] / few.of["next"],
    "open": lambda _, many: many.of["more"],
}
"""Of one engine, from few and many devices."""


def refused(small: int, large: int) -> str | None:
    """Why fleets of these sizes cannot be measured; None: they can."""
    if LEAST <= small < large:
        return None
    return (
        f"passes are measured over two fleets of {LEAST:,} devices or more, the second one larger"
        f" than the first: {small:,} and {large:,} are not"
    )


def measure(small: int, large: int, engines: Sequence[str] = ("sqlite", "postgres")) -> Measured:
    """The row."""
    if (problem := refused(small, large)) is not None:
        raise ValueError(problem)
    values: dict[str, float] = {}
    details: list[str] = []
    left_out: dict[str, str] = {}
    for engine in engines:
        suffix = "" if engine == "sqlite" else f"-{engine}"
        try:
            (few, many), server = _costs(engine, (small, large))
        except pytest.skip.Exception as lacking:
            left_out |= {f"{name}{suffix}": f"{engine}: {lacking}" for name in FIGURES}
            continue
        values |= {f"{name}{suffix}": value(few, many) for name, value in FIGURES.items()}
        details += [few.words, many.words, *filter(None, [server])]
    return Measured(values, details, left_out)


def _costs(engine: str, sizes: Sequence[int]) -> tuple[list[Costs], str]:
    """Of each size, and words on the Postgres, if it is one."""
    with place(engine) as server, tempfile.TemporaryDirectory() as folder:
        sides = [made(Path(folder) / str(devices), devices) for devices in sizes]
        for part in _PARTS:
            take_turns(sides, part.begin, part.turns, TURNS)
        for side in sides:
            side.fleet.store.close()
    found = [
        Costs(side.devices, engine, {k: statistics.median(v) for k, v in side.took.items()})
        for side in sides
    ]
    return found, server


def take_turns(
    sides: Sequence[Side],
    begin: Callable[[Side], None],
    works: Sequence[Callable[[Side], Mapping[str, float]]],
    turns: int,
) -> None:
    """Set up every side, then measure one after the other, again and again."""
    for side in sides:
        begin(side)
    for work in works:
        for _ in range(turns):
            for side in sides:
                side.note(work(side))
