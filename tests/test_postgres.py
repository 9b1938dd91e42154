"""Where the tests find a Postgres, and what they say when there is none."""

import sys
from pathlib import Path

import pytest

from tests import postgres
from tests.stores import open_quickly, place_of
from towline.reconciler.store.engine import Store, is_postgres


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A machine without any."""
    for name in ("TEST_DATABASE_URL", "TOWLINE_POSTGRES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(postgres, "_binaries", lambda: None)
    monkeypatch.setitem(sys.modules, "pgserver", None)
    return monkeypatch


def test_without_any_it_says_what_is_missing(nowhere: pytest.MonkeyPatch) -> None:
    with pytest.raises(pytest.skip.Exception) as skipped, postgres.databases():
        pass
    for way in ("TEST_DATABASE_URL", "apt-get install postgresql", "pip install pgserver"):
        assert way in str(skipped.value)


def test_where_it_is_required_that_is_a_failure(nowhere: pytest.MonkeyPatch) -> None:
    nowhere.setenv("TOWLINE_POSTGRES", "required")
    with pytest.raises(pytest.fail.Exception, match="pip install pgserver"), postgres.databases():
        pass


def test_the_one_that_is_given_is_used_before_all_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_DATABASE_URL", "postgresql://nobody@/nowhere?host=/nonexistent")
    with pytest.raises(Exception, match="/nonexistent"), postgres.databases() as made:
        made.empty()


@pytest.fixture
def opened(tmp_path: Path) -> Store:
    return open_quickly(tmp_path / "towline.db")


@pytest.mark.both_engines
def test_a_test_of_both_engines_runs_on_each_though_it_names_none(
    tmp_path: Path, opened: Store, request: pytest.FixtureRequest
) -> None:
    is_database = request.node.callspec.params["engine"] == "postgres"
    assert isinstance(place_of(tmp_path / "another.db"), str) == is_database
    with opened.read() as connection:
        assert is_postgres(connection) == is_database
