"""Live views: figures as they change, replay, heartbeat, the end, and who sees what."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from sqlalchemy import Connection, update

from tests.server.conftest import NOW, ORGANIZATION, AddRun, Device, Running, add_batch, add_target
from tests.server.test_dashboard_pages import add_devices, add_targets
from tests.server.test_device import device_seq
from tests.server.visiting import PAGE, Guest
from towline.reconciler import live_figures
from towline.reconciler.live_figures import Subject
from towline.reconciler.server import live
from towline.reconciler.server.live import Live
from towline.reconciler.store import counters
from towline.reconciler.store import tables as t
from towline.reconciler.store.engine import Store
from towline.reconciler.store.events import Event, record

STREAM = "/api/v1/admin/ota/events/stream"
Message = tuple[int, str, dict[str, Any]]


class Stream:
    """The messages of a stream, one after the other."""

    def __init__(self, answer: httpx.Response) -> None:
        self.lines = answer.iter_lines()
        self.comments = 0

    def next(self) -> Message:
        """Number, kind and document of the next message; StopIteration at the end."""
        fields: dict[str, str] = {}
        while True:
            line = next(self.lines)
            if line.startswith(":"):
                self.comments += 1
            elif line:
                name, _, value = line.partition(": ")
                fields[name] = value
            elif "event" in fields:
                return int(fields["id"]), fields["event"], json.loads(fields["data"])


@contextmanager
def opened(
    server: Running, last_event: str = "", url: str = STREAM, **query: str
) -> Iterator[Stream]:
    """A stream of a viewer."""
    headers = server.admin("viewer") | ({"Last-Event-ID": last_event} if last_event else {})
    with server.client.stream("GET", url, params=query, headers=headers) as answer:
        assert answer.status_code == 200, answer.read()
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["cache-control"] == "no-store"
        yield Stream(answer)


def move(server: Running, run: int, status: str, kind: str = "run.tuned") -> None:
    """All devices of the run, with an event as every change has one."""
    with server.store.write() as connection:
        connection.execute(update(t.targets).values(status=status))
        counters.recount(connection, run)
        record(connection, ORGANIZATION, NOW, Event(kind, "hello"))


def test_a_run_tells_its_counts_and_again_when_they_change(
    server: Running, add_run: AddRun
) -> None:
    run = add_run(target_count=30)
    add_batch(server, run, 0)
    add_targets(server, run, add_devices(server, 30), "installing")
    with opened(server, deployment="hello") as stream:
        number, kind, first = stream.next()
        assert (kind, first["status"], first["progress"]["in_progress"]) == (
            "figures",
            "in_progress",
            30,
        )
        assert first["batches"][0]["counts"] == {"installing": 30}
        assert "dev-0000" not in json.dumps(first)
        move(server, run, "completed")
        later, _, second = stream.next()
        assert later > number
        assert second["progress"]["completed"] == 30
        assert [event["kind"] for event in second["events"]] == ["run.tuned"]


def test_single_devices_are_not_told_of_in_a_run(server: Running, add_run: AddRun) -> None:
    run = add_run(target_count=2)
    add_targets(server, run, add_devices(server, 2), "installing")
    with opened(server, deployment="hello") as stream:
        stream.next()
        with server.store.write() as connection:
            failed = Event("device.failed", "hello", device="dev-0000")
            record(connection, ORGANIZATION, NOW, failed, Event("run.tuned", "hello"))
        assert [event["kind"] for event in stream.next()[2]["events"]] == ["run.tuned"]


def test_who_comes_again_is_told_what_was_missed(server: Running, add_run: AddRun) -> None:
    add_run()
    with server.store.write() as connection:
        for n in range(250):
            record(connection, ORGANIZATION, NOW, Event("run.tuned", "hello", message=f"{n}"))
    with opened(server, last_event="10", deployment="hello") as stream:
        number, _, shown = stream.next()
        assert [event["message"] for event in shown["events"]] == [str(n) for n in range(10, 250)]
    with opened(server, last_event=str(number), deployment="hello") as stream:
        assert stream.next()[2]["events"] == []
    with opened(server, deployment="hello") as stream:
        assert stream.next()[2]["events"] == []
    with opened(server, deployment="hello", last_event_id="249") as stream:
        assert len(stream.next()[2]["events"]) == 1


def test_a_stream_ends_with_its_run(server: Running, add_run: AddRun) -> None:
    add_run()
    with opened(server, deployment="hello") as stream:
        stream.next()
        with server.store.write() as connection:
            connection.execute(update(t.runs).values(status="completed"))
            record(connection, ORGANIZATION, NOW, Event("run.completed", "hello"))
        assert stream.next()[2]["status"] == "completed"
        assert stream.next()[1:] == ("end", {"status": "completed"})
        with pytest.raises(StopIteration):
            stream.next()


def test_a_heartbeat_comes_while_nothing_changes(
    server: Running, add_run: AddRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "HEARTBEAT_S", 0.05)
    run = add_run()
    with opened(server, deployment="hello") as stream:
        stream.next()
        assert next(line for line in stream.lines if line) == ": still here"
        move(server, run, "completed")
        assert stream.next()[1] == "figures"


def test_a_device_and_the_fleet_are_live_too(
    server: Running, enrolled: Device, add_run: AddRun
) -> None:
    run = add_run()
    add_target(server, run, device_seq(server), status="installing")
    with opened(server, device="pi-0001") as one, opened(server) as fleet:
        assert one.next()[2]["components"]["hello"]["state"] == "installing"
        shown = fleet.next()[2]
        assert (shown["fleet"]["total"], shown["runs"]) == (1, {"in_progress": 1})
        move(server, run, "completed")
        assert one.next()[2]["components"]["hello"]["state"] == "completed"
        (figures,) = fleet.next()[2]["live"].values()
        assert figures["completed"] == 1


def test_only_ones_own_organization_is_seen_and_only_with_a_token(
    server: Running, enrolled: Device, add_run: AddRun
) -> None:
    add_run(organization="other")
    with server.store.write() as connection:
        connection.execute(update(t.edge_devices).values(organization="other"))
    for query, status in (
        ({"deployment": "hello"}, 404),
        ({"device": "pi-0001"}, 404),
        ({"deployment": "a", "device": "b"}, 422),
    ):
        answer = server.client.get(STREAM, params=query, headers=server.admin())
        assert answer.status_code == status
    assert server.client.get(STREAM).status_code == 401
    with opened(server) as stream:
        assert stream.next()[2]["fleet"]["total"] == 0
    guest = Guest(server)
    assert "Admin token" in guest.get("/stream").text


def test_a_visit_reads_the_stream_of_its_page(server: Running, add_run: AddRun) -> None:
    add_run()
    guest = Guest(server).sign_in("viewer")
    page = guest.get("/deployments/hello")
    (main,) = [each for each in page.elements if each.tag == "main"]
    with guest.client.stream("GET", main.attributes["data-stream"]) as answer:
        assert Stream(answer).next()[2]["name"] == "hello"
    assert main.attributes["data-stream"].startswith(f"{PAGE}/stream?deployment=")


def test_all_viewers_share_one_look_and_hold_no_connection(
    server: Running, add_run: AddRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_run()
    looks = []

    def counting(connection: Connection, subject: Subject, seen_after: int) -> Any:
        looks.append(subject)
        return live_figures.figures(connection, subject, seen_after)

    monkeypatch.setattr(live, "figures", counting)
    monkeypatch.setattr(live, "LOOK_ANYWAY_S", 3600.0)
    with (
        opened(server, deployment="hello") as one,
        opened(server, deployment="hello") as two,
        opened(server, deployment="hello") as three,
    ):
        for stream in (one, two, three):
            assert stream.next()[2]["name"] == "hello"
        assert len(looks) == 1
        # Looks for the newest event go on meanwhile; between them nothing is checked out.
        pool: Any = server.store.engine.pool
        assert any(pool.checkedout() == 0 for _ in range(10_000))


def test_the_servers_end_ends_every_stream(store: Store) -> None:
    async def watch() -> list[bytes]:
        views = Live(store, lambda: 0)
        parts = []
        async for part in views.stream(Subject(ORGANIZATION), None):
            parts.append(part)
            if b"figures" in part:
                views.close()
        assert views.viewers == 0
        return parts

    assert len(asyncio.run(watch())) == 2


def test_there_is_room_for_so_many_viewers_only(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "VIEWERS_LIMIT", 0)
    answer = server.client.get(STREAM, headers=server.admin())
    assert (answer.status_code, answer.json()["code"]) == (503, "too-many-viewers")
