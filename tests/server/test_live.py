"""Live views: figures as they change, replay, heartbeat, the end, and who sees what."""

import json
import time

import pytest
from sqlalchemy import update
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.server.conftest import (
    NOW,
    ORGANIZATION,
    AddRun,
    Device,
    Running,
    add_batch,
    add_target,
)
from tests.server.test_dashboard_pages import add_devices, add_targets
from tests.server.test_device import device_seq
from tests.server.visiting import PAGE, Guest
from tests.server.watching import STREAM, Stream, connected, end_run, move, opened
from towline.reconciler.server import live
from towline.reconciler.store import tables as t
from towline.reconciler.store.events import Event, record

LOOK_EVERY_S = live.LOOK_EVERY_S


@pytest.fixture(autouse=True)
def looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody has the time to wait."""
    monkeypatch.setattr(live, "LOOK_EVERY_S", 0.02)
    monkeypatch.setattr(live, "REST_FACTOR", 0)


def test_a_run_tells_its_counts_and_again_when_they_change(
    server: Running, add_run: AddRun
) -> None:
    run = add_run(target_count=30, reason="RollingOut", message="batch 1 of 2")
    add_batch(server, run, 0)
    add_targets(server, run, add_devices(server, 30), "installing")
    with opened(server, deployment="hello") as stream:
        number, kind, first = stream.next()
        assert (kind, first["status"], first["reason"]) == ("figures", "in_progress", "RollingOut")
        assert first["progress"]["in_progress"] == 30
        assert first["batches"][0]["counts"] == {"installing": 30}
        assert first["batches"][0]["gate"].startswith("no verdict yet")
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


def test_a_run_has_another_shape_when_there_is_more_than_figures(
    server: Running, add_run: AddRun
) -> None:
    run = add_run(target_count=2)
    add_targets(server, run, add_devices(server, 2), "downloading")
    with opened(server, deployment="hello") as stream:
        shapes = [stream.next()[2]["shape"]]
        for status in ("installing", "failed"):
            move(server, run, status)
            shapes.append(stream.next()[2]["shape"])
    assert (shapes[0] == shapes[1], shapes[1] == shapes[2]) == (True, False)


def test_who_comes_again_is_told_what_was_missed(server: Running, add_run: AddRun) -> None:
    add_run()
    with server.store.write() as connection:
        for n in range(250):
            record(connection, ORGANIZATION, NOW, Event("run.tuned", "hello", message=f"{n}"))
    with opened(server, last_event="10", deployment="hello") as stream:
        number, _, shown = stream.next()
        assert [event["message"] for event in shown["events"]] == [str(n) for n in range(10, 250)]
        assert "more_events" not in shown
    for query in ({"last_event": str(number)}, {}, {"last_event": "x"}, {"last_event": "9" * 99}):
        with opened(server, deployment="hello", **query) as stream:
            assert stream.next()[2]["events"] == [], query
    with opened(server, deployment="hello", last_event_id="249") as stream:
        assert len(stream.next()[2]["events"]) == 1
    with connected(server, deployment="hello", last_event_id="248") as socket:
        assert len(socket.next()[2]["events"]) == 2


def test_of_too_much_that_was_missed_it_says_that_there_is_more(
    server: Running, add_run: AddRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "MISSED_LIMIT", 5)
    add_run()
    with server.store.write() as connection:
        for n in range(9):
            record(connection, ORGANIZATION, NOW, Event("run.tuned", "hello", message=f"{n}"))
    with opened(server, last_event="1", deployment="hello") as stream:
        shown = stream.next()[2]
    assert [event["message"] for event in shown["events"]] == ["1", "2", "3", "4", "5"]
    assert shown["more_events"] is True


def test_a_stream_ends_with_its_run(server: Running, add_run: AddRun) -> None:
    add_run()
    with opened(server, deployment="hello") as stream:
        stream.next()
        end_run(server)
        assert stream.next()[2]["status"] == "completed"
        assert stream.next()[1:] == ("end", {"status": "completed"})
        with pytest.raises(StopIteration):
            stream.next()
    with opened(server, deployment="hello") as stream:
        assert [stream.next()[1], stream.next()[1]] == ["figures", "end"]


def test_a_heartbeat_comes_while_nothing_changes(
    server: Running, add_run: AddRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "HEARTBEAT_S", 0.05)
    run = add_run()
    with opened(server, deployment="hello") as stream:
        while stream.next()[1] != "figures":
            pass
        number, kind, _ = stream.next()
        assert (kind, number) == ("heartbeat", 0)
        move(server, run, "completed")
        while stream.next()[1] != "figures":
            pass


def test_no_more_than_two_messages_come_in_a_second(
    server: Running, add_run: AddRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "LOOK_EVERY_S", LOOK_EVERY_S)
    run = add_run()
    with opened(server, deployment="hello") as stream:
        at = []
        for status in ("downloading", "installing", "verifying"):
            move(server, run, status)
            stream.next()
            at.append(time.monotonic())
    assert at[2] - at[0] > 0.9


def test_a_device_and_the_fleet_are_live_too(
    server: Running, enrolled: Device, add_run: AddRun
) -> None:
    run = add_run(target_count=1)
    add_target(server, run, device_seq(server), status="installing")
    with opened(server, device="pi-0001") as one, opened(server) as fleet:
        shown = one.next()[2]
        assert (shown["device"], shown["presence"]) == ("pi-0001", "online")
        assert shown["components"]["hello"]["state"] == "installing"
        shown = fleet.next()[2]
        assert (shown["fleet"]["total"], shown["runs"]) == (1, {"in_progress": 1})
        move(server, run, "completed")
        assert one.next()[2]["components"]["hello"]["state"] == "completed"
        (figures,) = fleet.next()[2]["deployments"].values()
        assert (figures["status"], figures["completed"], figures["total"]) == ("in_progress", 1, 1)


def test_a_program_reads_the_same_from_a_web_socket(server: Running, add_run: AddRun) -> None:
    run = add_run(target_count=2)
    add_targets(server, run, add_devices(server, 2), "installing")
    with opened(server, deployment="hello") as stream, connected(server, deployment="hello") as one:
        assert one.next() == stream.next()
        one.send("nobody listens")
        one.send(b"to either")
        move(server, run, "completed")
        assert one.next() == stream.next()
        end_run(server)
        assert [one.next(), one.next()] == [stream.next(), stream.next()]
        with pytest.raises(ConnectionClosed) as closed:
            one.next()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1000


def test_who_talks_too_much_into_a_web_socket_is_cut(server: Running, add_run: AddRun) -> None:
    add_run()
    with connected(server, deployment="hello") as one:
        one.next()
        one.send("x" * 5000)
        with pytest.raises(ConnectionClosed) as closed:
            one.next()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1009


def test_only_ones_own_organization_is_seen_and_only_with_a_token(
    server: Running, enrolled: Device, add_run: AddRun
) -> None:
    add_run(organization="other")
    with server.store.write() as connection:
        connection.execute(update(t.edge_devices).values(organization="other"))
    for query, headers, status in (
        ({"deployment": "hello"}, server.admin(), 404),
        ({"device": "pi-0001"}, server.admin(), 404),
        ({"deployment": "x" * 3000}, server.admin(), 404),
        ({"deployment": "a", "device": "b"}, server.admin(), 422),
        ({}, {}, 401),
        ({}, {"Authorization": "Bearer tow_1_2"}, 401),
    ):
        answer = server.client.get(STREAM, params=query, headers=headers)
        assert (answer.status_code, answer.json()["status"]) == (status, status)
        with pytest.raises(InvalidStatus) as refused, connected(server, headers, **query):
            pass
        assert refused.value.response.status_code == status
        assert json.loads(refused.value.response.body)["code"] == answer.json()["code"]
    with opened(server) as stream, connected(server) as socket:
        assert stream.next()[2]["fleet"]["total"] == socket.next()[2]["fleet"]["total"] == 0


def test_a_visit_reads_the_stream_of_its_page(server: Running, add_run: AddRun) -> None:
    add_run()
    guest = Guest(server)
    assert "Admin token" in guest.get("/stream").text
    page = guest.sign_in("viewer").get("/deployments/hello")
    (main,) = [each for each in page.elements if each.tag == "main"]
    assert main.attributes["data-stream"].startswith(f"{PAGE}/stream?deployment=")
    with guest.client.stream("GET", main.attributes["data-stream"]) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["cache-control"] == "no-store"
        assert Stream(answer).next()[2]["name"] == "hello"
    elsewhere = {"Sec-Fetch-Site": "cross-site"}
    assert guest.client.get(f"{PAGE}/stream", headers=elsewhere).status_code == 403


def test_a_visit_opens_no_web_socket(server: Running, add_run: AddRun) -> None:
    add_run()
    cookies = Guest(server).sign_in("admin").client.cookies
    cookie = {"Cookie": "; ".join(f"{name}={value}" for name, value in cookies.items())}
    assert "towline-visit" in cookie["Cookie"]
    with pytest.raises(InvalidStatus) as refused, connected(server, cookie, deployment="hello"):
        pass
    assert refused.value.response.status_code == 401


def test_there_is_room_for_so_many_viewers_only(
    server: Running, add_run: AddRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "VIEWERS_LIMIT", 1)
    with opened(server) as stream:
        stream.next()
        answer = server.client.get(STREAM, headers=server.admin())
        assert (answer.status_code, answer.json()["code"]) == (503, "too-many-viewers")
    # Who left makes room for the next one.
    until = time.monotonic() + 5
    while not is_let_in(server):
        assert time.monotonic() < until


def is_let_in(server: Running) -> bool:
    """Whether there is room for another viewer."""
    try:
        with connected(server) as socket:
            return socket.next()[1] == "figures"
    except InvalidStatus:
        return False


def test_a_server_that_ends_ends_every_stream_at_once(server: Running, add_run: AddRun) -> None:
    add_run()
    with opened(server, deployment="hello") as stream, connected(server) as socket:
        stream.next()
        socket.next()
        began = time.monotonic()
        server.end()
        with pytest.raises(StopIteration):
            stream.next()
        with pytest.raises(ConnectionClosed) as closed:
            socket.next()
        assert time.monotonic() - began < 2
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1012
