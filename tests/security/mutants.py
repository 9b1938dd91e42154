"""Switches every check off by itself and demands that some test fails: `make mutants`.

Prints how many checks of each file were off and how many of them some test missed, and each check
that nobody misses; exits 1 when there is one.
"""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest

from tests.security.checked import Checked
from tests.security.checks import CHECKED
from tests.security.mutations import Mutant, mutants_of
from tests.security.trying import Found, Trying, arguments_of

NOT_BY_CHANCE = "not escapes_from and not no_changed_byte and not postgres"
"""What tries examples at random must not be needed; nor a second engine."""
UNFIT = 2


@dataclass(slots=True)
class Tally:
    """What was found so far, told file by file."""

    left: dict[str, int]
    is_verbose: bool
    caught: dict[str, list[bool]] = field(default_factory=dict)

    def take(self, found: Found) -> None:
        """One more mutant is over."""
        file = found.checked.file
        of_file = self.caught.setdefault(file, [])
        of_file.append(found.is_caught)
        if not found.is_caught:
            _say(f"nobody misses {found.mutant}")
        elif self.is_verbose:
            by = next((line for line in found.output.splitlines() if "::" in line), "a hang")
            _say(f"{found.mutant}: {by}")
        if len(of_file) == self.left[file]:
            _say(_row(file, of_file))

    def is_whole(self) -> bool:
        """True when some test missed each check."""
        return all(all(of_file) for of_file in self.caught.values())

    def total(self, seconds: float) -> str:
        """The last line."""
        every = [each for of_file in self.caught.values() for each in of_file]
        share = 100 * sum(every) // len(every) if every else 0
        return f"{_row('all', every)}  {share} % in {seconds:.0f} s"


def sample_of(mutants: Sequence[Mutant], count: int) -> list[Mutant]:
    """So many, spread evenly."""
    step = max(1, len(mutants) // count) if count else 1
    return list(mutants[::step])[: count or None]


def main(arguments: Sequence[str] | None = None) -> int:
    """Try them all; 0 when each was caught."""
    asked = _parser().parse_args(arguments)
    began = time.monotonic()
    chosen = [each for each in CHECKED if not asked.files or each.file in asked.files]
    if asked.tests:
        chosen = [replace(each, tests=tuple(asked.tests)) for each in chosen]
    pairs = _pairs(chosen, asked.sample)
    tally = Tally({each.file: sum(pair[0] is each for pair in pairs) for each in chosen}, asked.v)
    files = list(dict.fromkeys(name for each, _ in pairs for name in each.tests))
    _say(f"{'checks of':55} {'off':>5} {'caught':>7}")
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    trying = Trying(pairs, asked.at_once, tally.take)
    ended = pytest.main(arguments_of(files, NOT_BY_CHANCE), [trying])
    if ended or trying.unfit:
        _say(trying.unfit or f"pytest ended with {ended}")
        return UNFIT
    _say(tally.total(time.monotonic() - began))
    return 0 if tally.is_whole() else 1


def _pairs(chosen: Sequence[Checked], sample: int) -> list[tuple[Checked, Mutant]]:
    pairs = [(each, mutant) for each in chosen for mutant in mutants_of(each.file, each.by_hand)]
    kept = sample_of([mutant for _, mutant in pairs], sample)
    return [(each, mutant) for each, mutant in pairs if mutant in kept] if sample else pairs


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.security.mutants", description=__doc__)
    parser.add_argument("files", nargs="*", help="of the source; all when none is named")
    parser.add_argument("--sample", type=int, default=0, help="only so many, spread evenly")
    parser.add_argument("--tests", nargs="+", help="instead of those that ought to miss them")
    parser.add_argument("--at-once", type=int, default=os.cpu_count() or 1)
    parser.add_argument("-v", action="store_true", help="name the test that misses each")
    return parser


def _row(file: str, found: Sequence[bool]) -> str:
    return f"{file:55} {len(found):5} {sum(found):7}"


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
