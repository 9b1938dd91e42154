"""How the bench tells what it found: figures that are missed, left out, or of other conditions."""

import argparse
import subprocess
import sys
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from bench import __main__ as bench
from bench import history
from bench.figures import FIGURES, Exit, Measured, graded, table_of
from bench.rows import ROWS, Row, attempted

HELD = Measured({"verify": 1}, ["quick"])
MISSED = Measured({"verify": 99}, ["slow"])
LACKING = Measured({}, [], left_out={"poll-nginx": "no nginx"})
UNMET = Measured({"mixed-share": 90}, [], unmet={"mixed-share": "too few reports"})


def shown(**found: Measured) -> str:
    """The table, as text."""
    console = Console(width=160, file=StringIO())
    with console.capture() as captured:
        console.print(table_of(found, {}))
    return captured.get()


def test_every_figure_belongs_to_one_row() -> None:
    """Else a row that is left out would be silent about some of them."""
    of_rows = [key for row in ROWS.values() for key in row.figures]
    assert sorted(of_rows) == sorted(each.key for each in FIGURES)


@pytest.mark.parametrize(
    ("found", "has_failed", "ends"),
    [
        (HELD, False, Exit.HELD),
        (MISSED, False, Exit.MISSED),
        (HELD, True, Exit.MISSED),
        (LACKING, False, Exit.INCOMPLETE),
        (UNMET, False, Exit.INCOMPLETE),
    ],
)
def test_the_end_tells_what_is_missed_and_what_was_not_measured(
    found: Measured, has_failed: bool, ends: Exit
) -> None:
    """Nobody takes an incomplete bench for one that held everything."""
    assert graded({"row": found}, has_failed=has_failed) is ends
    assert graded({"row": found, "missed": MISSED}, has_failed=False) is Exit.MISSED


def test_the_table_shows_what_was_not_measured_and_grades_nothing_of_unmet_conditions() -> None:
    """A good number that was found otherwise than it is defined reaches no goal."""
    text = shown(polls=LACKING, mixed=UNMET)
    (nginx,) = (line for line in text.splitlines() if "nginx" in line)
    (mixed,) = (line for line in text.splitlines() if "alone" in line)
    assert "not measured" in nginx
    assert "unmet" in mixed and "│ goal" not in mixed
    missed = Measured({"mixed-share": 10}, [], unmet=UNMET.unmet)
    assert "missed" in shown(mixed=missed)


def _raise(error: BaseException) -> Measured:
    raise error


def test_a_row_that_the_machine_cannot_measure_is_left_out_and_one_that_errs_has_failed() -> None:
    """The reason stands beside each of its figures."""
    none = argparse.Namespace()
    lacking = Row(lambda _: _raise(pytest.skip.Exception("no Postgres")), (), ("next",))
    found, error = attempted(lacking, none)
    assert (found.left_out, error) == ({"next": "left out: no Postgres"}, None)
    bug = Row(lambda _: _raise(KeyError("x")), (), ("next",))
    found, error = attempted(bug, none)
    assert isinstance(error, KeyError)
    assert "failed: KeyError" in found.left_out["next"]


def test_a_row_that_fails_takes_no_other_rows_results_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was measured before and after it is kept."""
    rows = {
        "first": Row(lambda _: HELD, (), ("verify",)),
        "bug": Row(lambda _: _raise(KeyError("x")), (), ("next",)),
        "last": Row(lambda _: Measured({"ingest": 30_000}, []), (), ("ingest",)),
    }
    monkeypatch.setattr(bench, "ROWS", rows)
    monkeypatch.setattr(history, "FOLDER", tmp_path)
    monkeypatch.setattr(sys, "argv", ["bench"])
    with pytest.raises(SystemExit) as ended:
        bench.main()
    assert ended.value.code == Exit.MISSED
    assert history.before(tmp_path, "first", {}) == {"verify": 1}
    assert history.before(tmp_path, "last", {}) == {"ingest": 30_000}
    (file,) = tmp_path.glob("*.json")
    assert "failed: KeyError" in file.read_text()
    assert "not measured (next)" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words",
    [
        "--repeats 0",
        "--calls 0",
        "--seconds 0",
        "--seconds nan",
        "--kills -1",
        "--devices 6000 60000",
        "nothing",
    ],
)
def test_sizes_that_cannot_be_measured_are_usage_errors(words: str) -> None:
    """Before anything is measured, in a line and not by a traceback."""
    done = subprocess.run(
        (sys.executable, "-m", "bench", *words.split()),
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 2
    assert "error: " in done.stderr and "Traceback" not in done.stderr


def test_help_tells_every_default() -> None:
    """Sizes are chosen against them."""
    text = " ".join(bench.parser().format_help().split())
    for default in ("(default: 3)", "(default: 128)", "(default: (100000, 1000000))"):
        assert default in text
