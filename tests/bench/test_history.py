"""What earlier runs found: it is kept row by row, and found again by the sizes that matter."""

import argparse
import json
from pathlib import Path

import pytest

from bench import __main__ as bench
from bench import history
from bench.rows import ROWS

MACHINE = {"at": "2026-01-02T03:04:05+00:00", "cores": 2}


def asked(*words: str) -> argparse.Namespace:
    """As from the command line."""
    return bench.parser().parse_args(words)


def kept(folder: Path, row: str, given: argparse.Namespace, **values: float) -> None:
    """Keep a row of a run."""
    found = {"asked": ROWS[row].sizes(given), "values": values}
    history.Run(folder, MACHINE).keep(row, found)


@pytest.mark.parametrize("words", [(), ("--devices", "100000", "1000000")])
def test_the_sizes_of_no_argument_are_found_again(tmp_path: Path, words: tuple[str, ...]) -> None:
    """They go through JSON, where a tuple would be a list."""
    kept(tmp_path, "passes", asked(), next=1.5)
    given = ROWS["passes"].sizes(asked(*words))
    assert history.before(tmp_path, "passes", given) == {"next": 1.5}


def test_only_sizes_of_the_row_itself_count(tmp_path: Path) -> None:
    """A smaller row beside it makes no other of this one."""
    kept(tmp_path, "polls", asked(), **{"poll-fastapi": 6})
    same = ROWS["polls"].sizes(asked("--kills", "1", "--devices", "60000", "70000"))
    other = ROWS["polls"].sizes(asked("--connections", "2"))
    assert history.before(tmp_path, "polls", same) == {"poll-fastapi": 6}
    assert history.before(tmp_path, "polls", other) == {}


def test_the_newest_value_is_told_and_older_forms_are_passed_over(tmp_path: Path) -> None:
    """Whole runs were one line each before."""
    older = {"machine": MACHINE, "asked": {}, "values": {"verify": 9}, "details": {}}
    (tmp_path / "history.jsonl").write_text(json.dumps(older) + "\n")
    kept(tmp_path, "verify", asked(), verify=2)
    kept(tmp_path, "verify", asked(), verify=3)
    assert history.before(tmp_path, "verify", {}) == {"verify": 3}


def test_every_row_names_sizes_that_there_are() -> None:
    """A misspelt one would end a run after its measure."""
    for row in ROWS.values():
        assert set(row.sizes(asked())) == set(row.depends_on)
