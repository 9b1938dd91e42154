"""Tests of both engines: each runs over SQLite and over a real Postgres."""

from collections.abc import Iterator

import pytest

from tests import postgres, stores
from tests.postgres import Databases


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Whatever is marked `both_engines` runs on each."""
    if metafunc.definition.get_closest_marker("both_engines"):
        metafunc.fixturenames.insert(0, "engine")
        metafunc.parametrize("engine", ["sqlite", "postgres"], indirect=True)


@pytest.fixture(scope="session")
def databases() -> Iterator[Databases]:
    """A Postgres server of this process."""
    with postgres.databases() as made:
        yield made


@pytest.fixture
def engine(request: pytest.FixtureRequest) -> Iterator[str]:
    """The engine of the stores that the test opens."""
    is_postgres = request.param == "postgres"
    with stores.on(request.getfixturevalue("databases") if is_postgres else None):
        yield request.param
