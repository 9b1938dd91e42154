"""Tests of both engines: each runs over SQLite and over a real Postgres; and the order of all."""

import gc
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests import postgres, stores
from tests.postgres import Databases

# How long an example takes says what else the machine does.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

WHOLE_STORIES = ("tests/e2e/", "tests/swarm/", "tests/browser/", "tests/bench/")
"""What starts processes of its own and mostly waits for them."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes long: others work while it waits, and at the end nobody waits for it.

    The first process takes them one after the other; the rest has what needs a processor.
    """
    items.sort(key=lambda item: not item.nodeid.startswith(WHOLE_STORIES))


def pytest_collection_finish() -> None:
    """What was collected stays until the end: to look for garbage in it again and again is slow."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Whatever is marked `both_engines` runs on each."""
    if metafunc.definition.get_closest_marker("both_engines"):
        metafunc.parametrize("engine", ["sqlite", "postgres"], indirect=True)


@pytest.fixture(scope="session")
def databases() -> Iterator[Databases]:
    """A Postgres server of this process."""
    with postgres.databases() as made:
        yield made


@pytest.fixture(autouse=True)
def engine(request: pytest.FixtureRequest) -> Iterator[str]:
    """The engine of the stores that the test opens; before all else, as its fixtures open some.

    Of all tests: one that is not named by the test itself would be left out by pytest.
    """
    name: str = getattr(request, "param", "sqlite")
    with stores.on(request.getfixturevalue("databases") if name == "postgres" else None):
        yield name
