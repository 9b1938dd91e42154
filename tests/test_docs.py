"""The documentation's tables are those of the code."""

from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path

import pytest

from towline.reconciler.holding import CLEARED_BY, GRAVEST_FIRST
from towline.reconciler.store.targets import TargetGroup
from towline.reconciler.verdict import Counts, counts_as
from towline.reconciler.ways_out import ENDED, SKIPPED
from towline.schemas.states import (
    BATCH_MOVES,
    DECIDED_MOVES,
    LATE_MOVES,
    OUTCOMES,
    REPORTED_MOVES,
    RUN_MOVES,
    VERBS,
)

ROLLOUT = Path(__file__).parent.parent / "docs" / "rollout.md"


def rows(table: Mapping[StrEnum, frozenset[StrEnum]]) -> list[str]:
    return [
        f"| {before} | {', '.join(sorted(afters)) or '–'} |"  # noqa: RUF001
        for before, afters in table.items()
    ]


def states_text() -> str:
    tables: list[tuple[str, str, list[str]]] = [
        ("run", "may become", rows(RUN_MOVES)),  # type: ignore[arg-type]
        ("batch", "may become", rows(BATCH_MOVES)),  # type: ignore[arg-type]
        ("target", "a report may make it", rows(REPORTED_MOVES)),  # type: ignore[arg-type]
        ("target", "the reconciler may make it", rows(DECIDED_MOVES)),  # type: ignore[arg-type]
        ("target", "a late report may make it", rows(LATE_MOVES)),  # type: ignore[arg-type]
        ("verb", "allowed while the run is", rows(VERBS)),  # type: ignore[arg-type]
    ]
    parts = [f"| {name} | {what} |\n|---|---|\n" + "\n".join(t) for name, what, t in tables]
    return "\n\n".join(parts) + "\n"


def holds_text() -> str:
    lines = [f"| {reason} | {CLEARED_BY[reason]} |" for reason in GRAVEST_FIRST]
    return "| hold | cleared by |\n|---|---|\n" + "\n".join(lines) + "\n"


def verdicts_text() -> str:
    """Every outcome by what it counts as, from the function that counts."""
    counted: dict[Counts, list[str]] = {kind: [] for kind in Counts}
    for status, reasons in OUTCOMES.items():
        for reason in reasons:
            group = TargetGroup(status, reason, is_granted=True, is_verified=False, n=1)
            counted[counts_as(group)].append(f"{status} ({reason})")
    counted[Counts.PASSED].append("completed and verified")
    kinds = (Counts.PASSED, Counts.FAILED, Counts.EXCUSED)
    lines = [f"| {kind} | {', '.join(counted[kind])} |" for kind in kinds]
    return "| counts as | which |\n|---|---|\n" + "\n".join(lines) + "\n"


def reasons_text() -> str:
    """Every reason of a target that ended, what it means, and the way out."""
    lines = [
        f"| {reason} | {means} | {way_out.format(name='NAME', device='ID')} |"
        for reason, (means, way_out) in (ENDED | SKIPPED).items()
    ]
    return "| reason | means | way out |\n|---|---|---|\n" + "\n".join(lines) + "\n"


@pytest.mark.parametrize(
    ("name", "made"),
    [
        ("states", states_text),
        ("holds", holds_text),
        ("verdicts", verdicts_text),
        ("reasons", reasons_text),
    ],
)
def test_the_tables_of_the_page_are_those_of_the_code(name: str, made: Callable[[], str]) -> None:
    text = ROLLOUT.read_text()
    written = text.split(f"<!-- {name}:begin -->\n")[1].split(f"<!-- {name}:end -->\n")[0]
    assert written == made(), "put this in its place:\n" + made()


def test_each_hold_says_what_clears_it() -> None:
    assert set(CLEARED_BY) == set(GRAVEST_FIRST)


def test_every_page_of_the_readme_exists() -> None:
    readme = ROLLOUT.parent.parent / "README.md"
    for line in readme.read_text().splitlines():
        if line.startswith("| [docs/"):
            assert (readme.parent / line.split("(")[1].split(")")[0]).is_file(), line
