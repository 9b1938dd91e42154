"""Events over the API: what is shown by default, and how repeats fold."""

from typing import Any

from tests.server.conftest import NOW, ORGANIZATION, Running
from tests.server.test_admin import get
from towline.reconciler.store.events import Event, record


def write(server: Running, *entries: tuple[int, Event]) -> None:
    with server.store.write() as connection:
        for at, event in entries:
            record(connection, ORGANIZATION, at, event)


def read(server: Running, **query: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = get(server, "/events", **query).json()["events"]
    return found


def test_equal_neighbours_are_one_with_a_count_and_the_last_time(server: Running) -> None:
    again = Event("run.held", deployment="hello", reason="GitStale")
    other = Event("run.tuned", deployment="hello")
    write(server, (NOW, again), (NOW + 60, again), (NOW + 120, other), (NOW + 180, again))
    shown = [(e["kind"], e["count"], e["at"], e["lastAt"]) for e in read(server)]
    assert shown == [
        ("run.held", 2, "2026-09-21T14:13:20Z", "2026-09-21T14:14:20Z"),
        ("run.tuned", 1, "2026-09-21T14:15:20Z", "2026-09-21T14:15:20Z"),
        ("run.held", 1, "2026-09-21T14:16:20Z", "2026-09-21T14:16:20Z"),
    ]


def test_reading_on_from_a_folded_event_gives_none_twice(server: Running) -> None:
    again = Event("run.held", deployment="hello", reason="GitStale")
    write(server, (NOW, again), (NOW + 60, again), (NOW + 120, Event("run.tuned")))
    first, second = read(server)
    assert [e["id"] for e in read(server, after=first["id"])] == [second["id"]]


def test_the_limit_counts_what_is_shown(server: Running) -> None:
    write(server, *((NOW + n, Event("run.held", reason="GitStale")) for n in range(700)))
    write(server, (NOW, Event("run.completed")))
    shown = read(server, limit=2)
    assert [(e["kind"], e["count"]) for e in shown] == [("run.held", 700), ("run.completed", 1)]


def test_important_ones_are_of_deployments_and_failing_devices(server: Running) -> None:
    kinds = [
        "run.started",
        "device.downloading",
        "device.failed",
        "target.granted",
        "target.failed",
        "device.rolled_back",
        "changed.target",
    ]
    write(server, *((NOW, Event(kind)) for kind in kinds))
    assert [e["kind"] for e in read(server, important=True)] == [
        "run.started",
        "device.failed",
        "target.failed",
        "device.rolled_back",
    ]
    assert [e["kind"] for e in read(server)] == kinds[:-1]
    assert [e["kind"] for e in read(server, machine=True)] == kinds


def test_events_may_begin_at_a_time(server: Running) -> None:
    write(server, (NOW, Event("run.started")), (NOW + 60, Event("run.completed")))
    assert [e["kind"] for e in read(server, since=NOW + 1)] == ["run.completed"]


def test_older_ones_follow_by_the_cursor(server: Running) -> None:
    write(server, *((NOW + n, Event(f"run.step-{n}")) for n in range(5)))
    shown: list[str] = []
    query: dict[str, Any] = {"limit": 2}
    while True:
        part = get(server, "/events", **query).json()
        shown = [each["kind"] for each in part["events"]] + shown
        query["cursor"] = part["next_cursor"]
        if query["cursor"] is None:
            break
    assert shown == [f"run.step-{n}" for n in range(5)]
