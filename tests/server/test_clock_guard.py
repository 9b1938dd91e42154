"""A server whose clock is behind what its store has recorded signs no document."""

import time
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy.exc import OperationalError
from structlog.testing import capture_logs
from structlog.typing import EventDict

from tests.server.conftest import NOW, ORGANIZATION, Device, Running
from tests.server.test_clock_back import go_back  # noqa: F401 the clock that is set
from tests.server.test_metrics import scraped
from towline.reconciler.server.clock_guard import TOLERANCE_S, ClockGuard, behind_s, stepped_back
from towline.reconciler.store import events
from towline.reconciler.store.engine import Store
from towline.reconciler.store.events import Event

HOUR_S = 3600
SetBack = Callable[[float], None]


@pytest.mark.parametrize(
    ("now", "newest", "behind"),
    [
        (NOW, 0, 0),
        (NOW, NOW - HOUR_S, 0),
        (NOW, NOW, 0),
        (NOW, NOW + TOLERANCE_S, 0),
        (NOW, NOW + TOLERANCE_S + 1, TOLERANCE_S + 1),
        (0, NOW, NOW),
    ],
)
def test_a_clock_is_behind_when_later_times_are_recorded(
    now: int, newest: int, behind: int
) -> None:
    assert behind_s(now, newest) == behind


@pytest.mark.parametrize(
    ("passed_s", "stepped"), [(0, False), (-TOLERANCE_S, False), (-TOLERANCE_S - 1, True)]
)
def test_a_clock_was_set_back_when_less_passed_on_it(passed_s: int, stepped: bool) -> None:
    assert stepped_back(NOW + passed_s, NOW) is stepped


@pytest.fixture
def told() -> Iterator[list[EventDict]]:
    """What the log is told, however another test had set it up."""
    with capture_logs() as entries:
        yield entries


def test_no_document_is_signed_until_the_clock_is_right_again(
    server: Running,
    enrolled: Device,
    go_back: SetBack,  # noqa: F811
    told: list[EventDict],
) -> None:
    first = enrolled.poll()
    assert first.status_code == 200
    assert scraped(server)["towline_clock_behind_seconds"] == 0
    go_back(HOUR_S)
    refused = enrolled.poll()
    assert (refused.status_code, refused.json()["code"]) == (503, "clock-behind")
    assert refused.headers["retry-after"] == "60"
    assert "seconds behind the newest time in its store" in refused.json()["detail"]
    assert enrolled.poll(etag=first.headers["etag"]).status_code == 304, "nothing is signed for it"
    assert enrolled.report(enrolled.facts()).status_code == 204, "what devices tell is taken in"
    health = server.client.get("/healthz")
    assert (health.status_code, health.json()["code"]) == (503, "clock-behind")
    figures = scraped(server)
    assert figures["towline_clock_behind_seconds"] >= HOUR_S - 60
    assert figures["towline_turned_away_total clock"] == 1
    go_back(0)
    assert enrolled.poll().status_code == 200
    assert server.client.get("/healthz").status_code == 200
    assert scraped(server)["towline_clock_behind_seconds"] == 0
    assert [each["event"] for each in told if each["event"].startswith("clock.")] == [
        "clock.behind",
        "clock.right",
    ]


def record(store: Store, at: int) -> None:
    with store.write() as connection:
        events.record(connection, ORGANIZATION, at, Event("commit.applied"))


def test_a_start_with_a_clock_behind_is_seen_though_later_events_are_dated_by_it(
    store: Store,
) -> None:
    now = int(time.time())
    record(store, now + HOUR_S)
    record(store, now)
    guard = ClockGuard(store)
    assert guard.behind_s() > HOUR_S - 60
    accepted = ClockGuard(store, is_accepted=True)
    assert accepted.behind_s() == 0
    record(store, now + 2 * HOUR_S)
    accepted.look()
    assert accepted.behind_s() > HOUR_S, "what is recorded later counts again"
    guard.close()
    accepted.close()


def test_while_the_store_is_away_what_it_said_before_counts(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(store, int(time.time()) + HOUR_S)
    guard = ClockGuard(store)

    def away() -> None:
        raise OperationalError("", {}, Exception("away"))

    monkeypatch.setattr(store, "read", away)
    guard.look()
    assert guard.behind_s() > HOUR_S - 60
    guard.close()


def test_what_another_process_recorded_is_found_within_a_minute(store: Store) -> None:
    steady = [0.0]
    guard = ClockGuard(store, steady=lambda: steady[0])
    record(store, int(time.time()) + HOUR_S)
    assert guard.behind_s() == 0
    steady[0] = 61.0
    guard.behind_s()
    guard.close()
    assert guard.behind_s() > 0
