"""A database that goes away for a while: devices are asked to come again, nothing told is lost."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from sqlalchemy import select

from tests.postgres import Databases
from tests.reconciler.simulation import ORGANIZATION
from tests.reconciler.test_follow import Fleet, app
from tests.server.conftest import Device, Running
from towline.manifests.repository import Repository
from towline.reconciler.leadership import Leadership
from towline.reconciler.loop import LoopSettings, Reconciler
from towline.reconciler.store import runs
from towline.reconciler.store import tables as t
from towline.reconciler.store.engine import AWAY

on_postgres = pytest.mark.parametrize("engine", ["postgres"], indirect=True)


@pytest.fixture
def gone(engine: str, server: Running, enrolled: Device, databases: Databases) -> Iterator[None]:
    """The database is away; what was said before is in it."""
    assert enrolled.report(enrolled.facts(facts={"kernel": "6.1"})).status_code == 204
    databases.shut(server.store.engine.url)
    yield
    databases.open(server.store.engine.url)


@on_postgres
def test_a_report_is_not_acknowledged_and_comes_again(
    gone: None, server: Running, enrolled: Device, databases: Databases
) -> None:
    said = enrolled.facts(facts={"kernel": "6.2"})
    refused = enrolled.report(said)
    assert (refused.status_code, refused.headers.get("retry-after") is not None) == (503, True)
    databases.open(server.store.engine.url)
    assert enrolled.report(said).status_code == 204
    with server.store.read() as connection:
        assert connection.execute(select(t.device_state.c.facts)).scalar_one() == {"kernel": "6.2"}


@on_postgres
def test_a_database_that_only_lets_read_is_one_that_is_away(
    engine: str, server: Running, enrolled: Device, databases: Databases
) -> None:
    databases.let_write(server.store.engine.url, is_let=False)
    said = enrolled.facts(facts={"kernel": "6.2"})
    refused = enrolled.report(said)
    assert (refused.status_code, refused.headers.get("retry-after") is not None) == (503, True)
    databases.let_write(server.store.engine.url, is_let=True)
    assert enrolled.report(said).status_code == 204


@on_postgres
def test_people_are_told_and_whoever_polls_for_nothing_new_needs_no_database(
    engine: str, server: Running, enrolled: Device, databases: Databases
) -> None:
    etag = enrolled.poll().headers["etag"]
    databases.shut(server.store.engine.url)
    assert enrolled.poll(etag).status_code == 304
    health = server.client.get("/healthz")
    assert (health.status_code, health.json()["code"]) == (503, "store")
    databases.open(server.store.engine.url)
    assert server.client.get("/healthz").status_code == 200


@on_postgres
def test_the_loop_goes_on_by_itself_once_the_database_is_back(
    engine: str, tmp_path: Path, databases: Databases
) -> None:
    fleet = Fleet(tmp_path)
    fleet.commit(app=app("1.0.0"))
    leadership = Leadership(fleet.store)
    settings = LoopSettings(ORGANIZATION, poll_interval_s=300, git_interval_s=1)
    loop = Reconciler(fleet.store, Repository(fleet.folder), settings, leadership=leadership)

    def wants(version: str) -> bool:
        with suppress(*AWAY), fleet.store.read() as connection:
            run = runs.newest_run(connection, ORGANIZATION, "app")
            return run is not None and run.target_version == version
        return False

    with ExitStack() as running:
        running.callback(leadership.stop)
        loop.start(fleet.folder)
        running.callback(loop.stop)
        leadership.start()
        until(lambda: wants("1.0.0"))
        databases.shut(fleet.store.engine.url)
        fleet.commit(app=app("2.0.0"))
        until(lambda: not loop.leads)
        databases.open(fleet.store.engine.url)
        until(lambda: wants("2.0.0"))
        assert leadership.epoch == 2


def until(is_so: Callable[[], bool]) -> None:
    ends_at = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < ends_at
        time.sleep(0.02)
