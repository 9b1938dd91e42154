"""A plugin of pytest: collects the tests once, and then tries them on one mutant after another.

First each file of tests runs as it is, which says how long each test takes and which functions it
reaches. A mutant's tests are then those that reach what it changes, the quickest first; the first
that fails ends it. Each mutant has a child of its own.
"""

import json
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests import stores
from tests.security import children
from tests.security.checked import Checked
from tests.security.children import Ended, Job
from tests.security.grafting import Grafts, Place, changed_by
from tests.security.mutations import PROJECT, Mutant

LIMIT_S = 60
"""A test that hangs misses the check, too."""
CAUGHT = 1


class Unfit(Exception):
    """The tests fail as the source is, or a mutant cannot be tried; the text is what was said."""


@dataclass(frozen=True, slots=True)
class Found:
    """What became of a mutant."""

    mutant: Mutant
    checked: Checked
    is_caught: bool
    output: str


@dataclass(slots=True)
class Known:
    """What is known of the tests."""

    seconds: dict[str, float] = field(default_factory=dict)
    reached: dict[str, set[Place]] = field(default_factory=dict)


class Trying:
    """Tries the mutants, and tells what became of each as it ends."""

    def __init__(
        self,
        pairs: Sequence[tuple[Checked, Mutant]],
        at_once: int,
        tell: Callable[[Found], None],
    ) -> None:
        self._pairs = pairs
        self._at_once = at_once
        self._tell = tell
        self._known = Known()
        self.unfit = ""
        """Why it came to no end."""

    def pytest_collection(self) -> None:
        """Find the same examples, however slow it is; no test was read yet."""
        every = list(HealthCheck)
        settings.register_profile(
            "mutants", derandomize=True, deadline=None, database=None, suppress_health_check=every
        )
        settings.load_profile("mutants")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """In a child: what failed."""
        if report.failed:
            sys.stdout.write(f"{report.nodeid}\n{report.longreprtext}\n")

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Instead of running the tests once."""
        try:
            self._try_all(session)
        except Unfit as unfit:
            self.unfit = str(unfit)
        return True

    def _try_all(self, session: pytest.Session) -> None:
        if session.testsfailed:
            raise Unfit("a file of tests cannot be read; run pytest on it")
        if any("store" in getattr(item, "fixturenames", ()) for item in session.items):
            stores.prepare()
        grafts = Grafts({mutant.file for _, mutant in self._pairs})
        self._learn(session, grafts)
        jobs = [
            Job(str(mutant), partial(self._try, session, grafts, checked, mutant))
            for checked, mutant in self._pairs
        ]
        for ended in children.run(jobs, self._at_once):
            if ended.status == children.BROKEN:
                raise Unfit(f"{jobs[ended.number].name}\n{ended.output}")
            checked, mutant = self._pairs[ended.number]
            self._tell(Found(mutant, checked, ended.status != 0, ended.output))

    def _learn(self, session: pytest.Session, grafts: Grafts) -> None:
        files = {item.location[0]: None for item in session.items}
        jobs = [Job(file, partial(self._run_as_it_is, session, grafts, file)) for file in files]
        for ended in children.run(jobs, self._at_once):
            for line in _told(ended, jobs[ended.number].name):
                self._known.seconds[line["test"]] = line["seconds"]
                reached = {Place(*place) for place in line["reached"]}
                self._known.reached[line["test"]] = reached

    def _run_as_it_is(
        self, session: pytest.Session, grafts: Grafts, file: str, folder: Path
    ) -> int:
        """In a child: tells of each test one line of JSON."""
        places = grafts.places()
        items = [item for item in session.items if item.location[0] == file]
        lines = []
        for item, following in _with_next(items):
            began = time.monotonic()
            with _Watch(places) as reached:
                _run(item, following)
            line = {"test": item.nodeid, "seconds": time.monotonic() - began}
            held = [(place.file, place.line, place.name) for place in reached]
            lines.append(json.dumps(line | {"reached": held}))
            if session.testsfailed:
                return CAUGHT
        sys.stdout.write("".join(f"{line}\n" for line in ("", *lines)))
        return 0

    def _try(
        self,
        session: pytest.Session,
        grafts: Grafts,
        checked: Checked,
        mutant: Mutant,
        folder: Path,
    ) -> int:
        """In a child: whether some test fails."""
        changed = set(changed_by(mutant))
        grafts.put(mutant)
        for item, following in _with_next(self._tests_of(session, checked, changed)):
            _run(item, following)
            if session.testsfailed:
                return CAUGHT
        return 0

    def _tests_of(
        self, session: pytest.Session, checked: Checked, changed: set[Place]
    ) -> list[pytest.Item]:
        files = [f"tests/{name}" for name in checked.tests]
        known = self._known
        return sorted(
            (
                item
                for item in session.items
                if item.location[0] in files
                and not (changed and changed.isdisjoint(known.reached[item.nodeid]))
            ),
            key=lambda item: known.seconds[item.nodeid],
        )


def _with_next(items: Sequence[pytest.Item]) -> Iterator[tuple[pytest.Item, pytest.Item | None]]:
    return zip(items, [*items[1:], None], strict=False)


def _run(item: pytest.Item, following: pytest.Item | None) -> None:
    signal.alarm(LIMIT_S)
    item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
    signal.alarm(0)


def _told(ended: Ended, file: str) -> list[dict[str, Any]]:
    if ended.status != 0:
        raise Unfit(f"{file} fails as the source is\n{ended.output}")
    lines = [line for line in ended.output.splitlines() if line.startswith('{"test":')]
    return [json.loads(line) for line in lines]


class _Watch:
    """Which places are reached within it, by any thread that begins there."""

    def __init__(self, places: Mapping[int, Place]) -> None:
        self._places = places
        self._reached: set[Place] = set()

    def __enter__(self) -> set[Place]:
        threading.settrace(self._see)
        sys.settrace(self._see)
        return self._reached

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)
        threading.settrace(None)

    def _see(self, frame: FrameType, event: str, arg: object) -> None:
        place = self._places.get(id(frame.f_code))
        if place is not None:
            self._reached.add(place)


def arguments_of(files: Sequence[str], but_not: str) -> list[str]:
    """How pytest is called to collect these files, from wherever it is called."""
    plain = ("-p", "no:terminal", "-p", "no:cacheprovider", "-p", "no:faulthandler", "-s")
    paths = [str(PROJECT / "tests" / file) for file in files]
    return [*plain, "-o", "addopts=", "--rootdir", str(PROJECT), "-k", but_not, *paths]
