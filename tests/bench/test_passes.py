"""What passes are measured by, with small fleets: turns, sizes, and that each measures its work."""

from typing import Any

import pytest

from bench import passes


class _Side:
    """Notes when it was its turn."""

    def __init__(self, name: str, happened: list[str]) -> None:
        self.name, self.happened = name, happened

    def note(self, found: Any) -> None:
        """As a side keeps what was found."""
        self.happened.append(f"{found} of {self.name}")


def test_few_and_many_devices_are_measured_in_turns() -> None:
    """What else the machine does falls on both: never one wholly before the other."""
    happened: list[str] = []
    sides: list[Any] = [_Side("few", happened), _Side("many", happened)]

    def begin(side: Any) -> None:
        happened.append(f"begin {side.name}")

    works: list[Any] = [lambda _: "first", lambda _: "second"]
    passes.take_turns(sides, begin, works, turns=3)
    first = ["first of few", "first of many"] * 3
    assert happened == [
        "begin few",
        "begin many",
        *first,
        *(x.replace("first", "second") for x in first),
    ]


def test_sizes_that_cannot_be_measured_are_said_with_those_that_can() -> None:
    """A batch of few devices would run out in the middle of a measure."""
    assert "60,000 devices or more" in str(passes.refused(6_000, 60_000))
    assert "larger" in str(passes.refused(60_000, 60_000))
    assert passes.refused(60_000, 60_001) is None
    assert passes.TURNS >= 3


@pytest.mark.parametrize("engine", ["sqlite", "postgres"])
def test_passes_are_measured_over_two_fleets(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each piece of work checks by itself that it was done, on as many devices as are told."""
    monkeypatch.setattr("bench.crowd.LOT", 100)
    monkeypatch.setattr("bench.passes.LEAST", 5_000)
    monkeypatch.setattr("bench.pass_reports.DEPLOYMENTS", 3)
    monkeypatch.setattr("bench.pass_reports.REPORTS", 30)
    found = passes.measure(6_000, 7_000, [engine])
    suffix = "" if engine == "sqlite" else "-postgres"
    names = ("pass-idle", "pass-reports", "next", "open")
    assert set(found.values) == {f"{name}{suffix}" for name in names}
    assert all(value > 0 for value in found.values.values())
    assert len(found.details) == (2 if engine == "sqlite" else 3)
