"""`make mutants` itself: it finds the checks, and tells a check that nobody misses."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.security.checked import Checked
from tests.security.checks import CHECKED
from tests.security.mutations import PROJECT, Mutant, mutants_of

SOURCE = """
def judge(a, b, c):
    if a or not (b and 0 < c < 9):
        raise ValueError
    if (a, b) != (b, c):
        raise ValueError
    check_more(c)
    return read(c, least=1)

def is_good(a, b):
    return a and not b
"""


def described(folder: Path) -> list[str]:
    file = folder / "judged.py"
    file.write_text(SOURCE)
    return [mutant.place for mutant in mutants_of(str(file), [("return a and", "return a or")])]


def test_every_term_bound_and_call_is_a_check(tmp_path: Path) -> None:
    assert sorted(described(tmp_path)) == sorted(
        [
            "judge: a -> False",
            "judge: b -> True",
            "judge: 0 < c -> True",
            "judge: c < 9 -> True",
            "judge: (a, b) != (b, c) -> False",
            "judge: a is not compared",
            "judge: b is not compared",
            "judge: check_more(c) -> nothing",
            "judge: read(c, least=1) without least",
            "is_good: a -> True",
            "is_good: b -> False",
            "return a and -> return a or",
        ]
    )


def test_each_mutant_differs_in_its_one_place(tmp_path: Path) -> None:
    described(tmp_path)
    mutants: list[Mutant] = mutants_of(str(tmp_path / "judged.py"))
    codes = {compile(mutant.code, "judged", "exec").co_consts for mutant in mutants}
    assert len(codes) == len(mutants)


@pytest.mark.parametrize("checked", CHECKED, ids=lambda checked: checked.file)
def test_what_is_named_by_hand_and_the_tests_are_still_there(checked: Checked) -> None:
    source = (PROJECT / checked.file).read_text("utf-8")
    for old, new in checked.by_hand:
        assert source.count(old) == 1, old
        assert old.count("\n") == new.count("\n"), "what follows would be in another line"
    for name in checked.tests:
        assert (PROJECT / "tests" / name).is_file(), name


def ran(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.security.mutants", *arguments]
    return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)


def test_a_sample_of_the_checks_is_missed_when_it_is_off() -> None:
    done = ran("towline/schemas/verifier.py", "--sample", "4")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "100 %" in done.stdout


def test_a_check_that_nobody_misses_is_told() -> None:
    done = ran("towline/schemas/hosts.py", "--sample", "1", "--tests", "schemas/test_fields.py")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "nobody misses towline/schemas/hosts.py:" in done.stdout
    assert "0 %" in done.stdout


def test_tests_that_fail_anyway_catch_nothing(tmp_path: Path) -> None:
    failing = tmp_path / "test_failing.py"
    failing.write_text("def test_one() -> None:\n    assert False, 'as ever'\n")
    done = ran("towline/schemas/hosts.py", "--sample", "1", "--tests", str(failing))
    assert done.returncode == 2, done.stdout + done.stderr
    assert "fails as the source is" in done.stdout
    assert "as ever" in done.stdout
