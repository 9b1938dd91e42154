"""Switches every check off by itself and demands that some test fails: `make mutants`.

Each mutant lives in a process of its own, forked off one that has loaded the libraries; there the
one module is compiled as it was changed, and its tests run until the first fails. Prints a table,
and each check that nobody misses; exits 1 when there is one.
"""

import argparse
import importlib
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from types import CodeType, ModuleType

import pytest

from tests.security.checks import CHECKED, Checked
from tests.security.mutations import PROJECT, Mutant, mutants_of

LIMIT_S = 60
"""A mutant that hangs is missed by somebody, too."""
LIBRARIES = (
    "cryptography.x509",
    "hypothesis.strategies",
    "securesystemslib.signer",
    "tuf.api.metadata",
)
OPTIONS = ("-x", "-q", "-p", "pytest_timeout", "-p", "no:cacheprovider", "-o", "addopts=")
NOT_BY_CHANCE = "not nothing_but and not no_change"
"""What tries examples at random must not be needed."""


@dataclass(frozen=True, slots=True)
class Found:
    """What became of a mutant."""

    mutant: Mutant | None
    """None: the file as it is."""
    checked: Checked
    is_caught: bool
    output: str


class _Changed(SourceFileLoader):
    """Loads one module from code that is not what its file holds."""

    def __init__(self, name: str, path: str, code: CodeType) -> None:
        super().__init__(name, path)
        self._code = code

    def get_code(self, fullname: str) -> CodeType:
        """The changed code."""
        del fullname
        return self._code


class _Finder(MetaPathFinder):
    """Finds the mutant's module before anybody else does."""

    def __init__(self, mutant: Mutant) -> None:
        self._name = mutant.file.removesuffix(".py").replace("/", ".")
        self._path = str(PROJECT / mutant.file)
        self._code = compile(mutant.code, self._path, "exec")

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The changed module, or nothing."""
        del path, target
        if name != self._name:
            return None
        loader = _Changed(name, self._path, self._code)
        return spec_from_file_location(name, self._path, loader=loader)


def _test(checked: Checked, mutant: Mutant | None, output: Path) -> int:
    """In a process of its own: pytest's exit status."""
    with output.open("wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    if mutant is not None:
        sys.meta_path.insert(0, _Finder(mutant))
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    sys.dont_write_bytecode = True
    files = [f"tests/{name}" for name in checked.tests]
    return int(pytest.main([*OPTIONS, *_fixtures(files), "-k", NOT_BY_CHANCE, *files]))


def _fixtures(files: Sequence[str]) -> Sequence[str]:
    """Only the shared fixtures that these tests need: those of all load a whole server."""
    if all(file.startswith("tests/agent/") for file in files):
        return ("--confcutdir=tests/agent",)
    return ("--noconftest",)


def _begin(act: Callable[[], int]) -> int:
    """A child that exits with what `act` returns; its number."""
    sys.stdout.flush()
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        os.setpgid(0, 0)
        signal.alarm(LIMIT_S)
        status = act()
    finally:
        os._exit(status)


def tried(todo: Sequence[tuple[Checked, Mutant | None]], at_once: int) -> Iterator[Found]:
    """What became of each, as it ends."""
    waiting = list(reversed(todo))
    running: dict[int, tuple[Checked, Mutant | None, Path]] = {}
    with tempfile.TemporaryDirectory() as folder:
        while waiting or running:
            while waiting and len(running) < at_once:
                checked, mutant = waiting.pop()
                output = Path(folder) / str(len(waiting))
                child = _begin(partial(_test, checked, mutant, output))
                running[child] = (checked, mutant, output)
            child, status = os.wait()
            with suppress(ProcessLookupError):
                os.killpg(child, signal.SIGKILL)
            checked, mutant, output = running.pop(child)
            text = output.read_text("utf-8", "replace")
            output.unlink()
            yield Found(mutant, checked, os.waitstatus_to_exitcode(status) != 0, text)


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
    pairs = [(each, mutant) for each in chosen for mutant in mutants_of(each.file, each.by_hand)]
    if asked.sample:
        kept = sample_of([mutant for _, mutant in pairs], asked.sample)
        pairs = [(each, mutant) for each, mutant in pairs if mutant in kept]
    for name in LIBRARIES:
        importlib.import_module(name)
    counts: dict[str, list[bool]] = {each.file: [] for each, _ in pairs}
    missed = 0
    baselines = [(each, None) for each in chosen if each.file in counts]
    for found in tried([*baselines, *pairs], asked.at_once):
        if found.mutant is None:
            if found.is_caught:
                sys.stdout.write(f"{found.checked.file}: its tests fail as it is\n{found.output}")
                return 1
            continue
        counts[found.checked.file].append(found.is_caught)
        if not found.is_caught:
            missed += 1
            sys.stdout.write(f"nobody misses {found.mutant}\n")
            sys.stdout.flush()
    sys.stdout.write(_table(counts, time.monotonic() - began))
    return 1 if missed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.security.mutants", description=__doc__)
    parser.add_argument("files", nargs="*", help="of the source; all when none is named")
    parser.add_argument("--sample", type=int, default=0, help="only so many, spread evenly")
    parser.add_argument("--tests", nargs="+", help="instead of those that ought to miss them")
    parser.add_argument("--at-once", type=int, default=os.cpu_count() or 1)
    return parser


def _table(counts: Mapping[str, Sequence[bool]], seconds: float) -> str:
    lines = [f"{'checks of':45} {'off':>5} {'caught':>7}"]
    lines += [f"{file:45} {len(found):5} {sum(found):7}" for file, found in counts.items()]
    total = sum(map(len, counts.values()))
    caught = sum(map(sum, counts.values()))
    share = 100 * caught // total if total else 0
    lines.append(f"{'all':45} {total:5} {caught:7}  {share} % in {seconds:.0f} s")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
