"""A database that falls silent: no connection ends, and nothing comes by any.

Devices are asked to come again in time, nothing acknowledged is lost, all goes on by itself, and
the server ends when it is told to.
"""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import select, text

from tests.postgres import Databases
from tests.server.conftest import NOW, ORGANIZATION, Device, Running
from tests.server.test_serve import client_of, serving, settings
from tests.silent_line import Line
from towline.reconciler.server import health, letters
from towline.reconciler.server.serve import ServeSettings
from towline.reconciler.store import patience, repositories
from towline.reconciler.store import tables as t
from towline.reconciler.store.engine import AWAY, Store, open_store

__all__ = ["settings"]  # a fixture
BUSY_S = 2.0
"""For a machine that has much else to do."""


@pytest.fixture
def line(databases: Databases) -> Iterator[Line]:
    made = Line(databases.fresh())
    yield made
    made.close()


@pytest.fixture
def store(line: Line, tmp_path: Path) -> Iterator[Store]:
    """As for every server's test, at the end of that line."""
    (tmp_path / "data").mkdir()
    opened = open_store(line.url)
    with opened.write() as connection:
        repositories.ensure(connection, ORGANIZATION, "fleet", "main", "", NOW)
    yield opened
    opened.close()


def timed(call: Callable[[], httpx.Response]) -> tuple[httpx.Response, float]:
    began = time.monotonic()
    return call(), time.monotonic() - began


def kernel(store: Store) -> str:
    """What the device last told of itself, and was kept."""
    with store.read() as connection:
        facts: dict[str, Any] = connection.execute(select(t.device_state.c.facts)).scalar_one()
    return str(facts["kernel"])


def test_devices_are_asked_to_come_again_in_time_and_all_goes_on_by_itself(
    line: Line, server: Running, enrolled: Device
) -> None:
    assert enrolled.report(enrolled.facts(facts={"kernel": "6.1"})).status_code == 204
    etag = enrolled.poll().headers["etag"]
    said = enrolled.facts(facts={"kernel": "6.2"})
    line.fall_silent()
    with ThreadPoolExecutor(2) as asking:
        reported = asking.submit(timed, lambda: enrolled.report(said))
        asked = asking.submit(timed, lambda: server.client.get("/healthz"))
        answer, took = timed(lambda: enrolled.poll(etag))
        assert (answer.status_code, took < BUSY_S) == (304, True)
        answer, took = asked.result()
        assert (answer.status_code, answer.json()["code"]) == (503, "store")
        assert took < health.ANSWER_S + BUSY_S
        answer, took = reported.result()
        assert (answer.status_code, answer.json()["code"]) == (503, "store")
        assert int(answer.headers["retry-after"]) > 0
        assert took < letters.PATIENCE_S + letters.SWEEP_S + BUSY_S
    line.go_on()
    began = time.monotonic()
    while enrolled.report(said).status_code != 204:
        assert time.monotonic() < began + 5
        time.sleep(0.2)
    assert kernel(server.store) == "6.2"
    assert server.client.get("/healthz").status_code == 200


def test_a_connection_that_is_lost_is_replaced_and_a_long_statement_is_left_alone(
    line: Line, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "SILENT_S", 0.3)

    with store.read() as connection:
        slept = connection.execute(text("SELECT pg_sleep(1.5), 'slept'")).one()[1]
        assert slept == "slept"
    line.lose_all()
    began = time.monotonic()
    with pytest.raises(AWAY), store.read():
        pass
    assert time.monotonic() - began < patience.ARRIVES_S + BUSY_S
    with store.read() as connection:
        assert connection.execute(text("SELECT 1")).scalar_one() == 1


def test_the_server_ends_when_it_is_told_to(line: Line, settings: ServeSettings) -> None:
    began = 0.0
    with serving(replace(settings, store=line.url)) as lines, client_of(settings, lines) as client:
        assert client.get("/healthz").status_code == 200
        line.fall_silent()
        time.sleep(2)  # Whatever looks into the store every second hangs by now.
        began = time.monotonic()
    assert time.monotonic() - began < patience.ENDING_S + 5 + BUSY_S
