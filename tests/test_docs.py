"""The documentation's tables are those of the code."""

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path

from towline.schemas.states import (
    BATCH_MOVES,
    DECIDED_MOVES,
    LATE_MOVES,
    REPORTED_MOVES,
    RUN_MOVES,
    VERBS,
)

ROLLOUT = Path(__file__).parent.parent / "docs" / "rollout.md"
BEGIN, END = "<!-- states:begin -->\n", "<!-- states:end -->\n"


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


def test_the_tables_of_states_are_those_of_the_code() -> None:
    text = ROLLOUT.read_text()
    written = text.split(BEGIN)[1].split(END)[0]
    assert written == states_text(), "put this in its place:\n" + states_text()


def test_every_page_of_the_readme_exists() -> None:
    readme = ROLLOUT.parent.parent / "README.md"
    for line in readme.read_text().splitlines():
        if line.startswith("| [docs/"):
            assert (readme.parent / line.split("(")[1].split(")")[0]).is_file(), line
