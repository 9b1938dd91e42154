"""A database that goes away for a while: devices are asked to come again, nothing told is lost."""

from collections.abc import Iterator

import pytest
from sqlalchemy import select

from tests.postgres import Databases
from tests.server.conftest import Device, Running
from towline.reconciler.store import tables as t

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
