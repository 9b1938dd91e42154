"""The dashboard's pages: what they show of runs, devices and events, to whom, and how safely."""

from uuid import uuid4

import pytest
from sqlalchemy import insert, select, update

from tests.server.conftest import (
    NOW,
    ORGANIZATION,
    AddRun,
    Device,
    Running,
    add_batch,
    add_target,
    run_values,
    wall,
)
from tests.server.test_device import device_seq
from tests.server.visiting import PAGE, Guest
from towline.reconciler.gate_words import errors_allowed, gate_words
from towline.reconciler.store import counters
from towline.reconciler.store import tables as t
from towline.reconciler.store.events import Event, record
from towline.reconciler.store.labels import intern_labels
from towline.reconciler.verdict import Tally

SCRIPT = "<script>alert(1)</script>"
HOSTILE = "مرحبا 🚀 " + "x" * 290


def add_devices(server: Running, n: int, **labels: str) -> list[int]:
    """Devices dev-0000 and on, seen just now."""
    with server.store.write() as connection:
        labelled = intern_labels(connection, labels)
        rows = [
            {
                "id": uuid4(),
                "slug": f"dev-{number:04}",
                "organization": ORGANIZATION,
                "device_type": "raspberry_pi",
                "label_set_id": labelled,
                "labels_git": {},
                "labels_people": {},
                "labels_join": labels,
                "state": "active",
                "created_at": NOW,
            }
            for number in range(n)
        ]
        connection.execute(insert(t.edge_devices), rows)
        named = t.edge_devices.c.slug.startswith("dev-")
        seqs = list(
            connection.execute(
                select(t.edge_devices.c.seq).where(named).order_by(t.edge_devices.c.slug)
            ).scalars()
        )
        states = [{"device_seq": seq, "last_seen": wall(), "facts": {}} for seq in seqs]
        connection.execute(insert(t.device_state), states)
    return seqs


def add_targets(server: Running, run: int, seqs: list[int], status: str) -> None:
    """These devices in the run, all in one state."""
    with server.store.write() as connection:
        rows = [
            {
                "run_seq": run,
                "device_seq": seq,
                "component": "hello",
                "batch": 0,
                "status": status,
                "attempt": 1,
                "position": place,
                "created_at": NOW,
            }
            for place, seq in enumerate(seqs)
        ]
        connection.execute(insert(t.targets), rows)
        counters.recount(connection, run)


def test_the_list_shows_status_progress_and_the_reason_in_words(
    server: Running, enrolled: Device, add_run: AddRun
) -> None:
    run = add_run(target_count=4, reason="StartAt", message="it begins at noon", status="pending")
    add_target(server, run, device_seq(server), status="completed")
    shown = Guest(server).sign_in("viewer").get()
    for words in ("Hello 1", "○ pending", "1 of 4", "StartAt", "it begins at noon"):
        assert words in shown.text
    (bar,) = [each for each in shown.elements if each.tag == "progress"]
    assert (bar.attributes["max"], bar.attributes["value"]) == ("4", "1")


def test_the_list_is_filtered_by_status_and_paged(server: Running, add_run: AddRun) -> None:
    for turn in range(1, 23):
        add_run(turn=turn, status="completed", deployment_name=f"Hello turn {turn}")
    guest = Guest(server).sign_in("viewer")
    second = guest.get("", page=2)
    assert "page 2 of 2" in second.text
    assert "Hello turn 2" in second.text
    assert "Hello turn 3 " not in second.text
    assert "No Deployment is failed" in guest.get("", status="failed").text


def test_without_anything_the_pages_say_what_to_do(server: Running) -> None:
    guest = Guest(server).sign_in("viewer")
    assert "towline publish" in guest.get().text
    assert "towline join create" in guest.get("/fleet").text
    assert "No event" in guest.get("/events", deployment="none").text


def test_the_run_shows_its_gate_in_words_and_failing_devices_first(
    server: Running, enrolled: Device, add_run: AddRun
) -> None:
    run = add_run(target_count=3)
    add_batch(server, run, 0)
    add_target(
        server,
        run,
        device_seq(server),
        batch=0,
        status="failed",
        reason="HealthCheckFailed",
        error_message=f"exit 3\n{SCRIPT}",
    )
    shown = Guest(server).sign_in("viewer").get("/deployments/hello")
    assert "0 % of 95 % needed, 1 failed, none allowed" in shown.text
    assert "HealthCheckFailed : the health check failed" in shown.text
    assert "towline retry hello --device pi-0001" in shown.text
    assert "Ada <ada@example.com>" in shown.text
    assert SCRIPT not in shown.html
    assert shown.text.index("Failing devices") < shown.text.index("Id begins with")


def test_a_hold_says_who_clears_it(server: Running, add_run: AddRun) -> None:
    run = add_run(status="paused")
    hold = {
        "organization": ORGANIZATION,
        "deployment": "hello",
        "run_seq": run,
        "reason": "ThresholdNotMet",
        "message": "2 of 10 failed",
        "author": "",
        "since": NOW,
    }
    with server.store.write() as connection:
        connection.execute(insert(t.holds), hold)
    shown = Guest(server).sign_in("viewer").get("/deployments/hello")
    assert "Held by ThresholdNotMet since 2026-09-21 14:13:20 UTC : 2 of 10 failed" in shown.text
    assert "Cleared by: retry, or resume --accept" in shown.text


@pytest.mark.parametrize(
    ("tally", "threshold", "words"),
    [
        (Tally(), 95, "95 % needed"),
        (
            Tally(passed=97, failed=2, waiting=1),
            95,
            "97 % of 95 % needed, 2 of 5 errors allowed, 1 to go",
        ),
        (Tally(waiting=10), 95, "no verdict yet, 95 % needed, no error allowed, 10 to go"),
        (Tally(passed=19, failed=1), 95, "95 % of 95 % needed, 1 of 1 error allowed"),
    ],
)
def test_a_gate_in_words(tally: Tally, threshold: int, words: str) -> None:
    assert gate_words(tally, threshold) == words


def test_the_errors_allowed_are_those_that_the_verdict_allows() -> None:
    for members in range(1, 120):
        for threshold in (1, 50, 66, 90, 95, 99, 100):
            most = errors_allowed(members, threshold)
            assert (members - most) * 100 >= threshold * members
            assert (members - most - 1) * 100 < threshold * members


def test_the_devices_of_a_run_go_by_parts_and_filters(server: Running, add_run: AddRun) -> None:
    seqs = add_devices(server, 120)
    run = add_run(target_count=120)
    add_targets(server, run, seqs[:119], "completed")
    add_targets(server, run, seqs[119:], "skipped")
    guest = Guest(server).sign_in("viewer")
    seen: set[str] = set()
    page, parts = guest.get("/deployments/hello"), 0
    while True:
        seen |= {link.rsplit("/", 1)[1] for link in page.links() if "/devices/dev-" in link}
        parts += 1
        onward = [each for each in page.links() if "after=" in each]
        if not onward:
            break
        page = guest.get(f"{PAGE}/deployments/hello{onward[0].split('#')[0]}")
    assert (len(seen), parts) == (120, 3)
    few = guest.get("/deployments/hello", state="skipped", begins="dev-0")
    assert [each for each in few.links() if "/devices/" in each] == [f"{PAGE}/devices/dev-0119"]
    assert "No device fits" in guest.get("/deployments/hello", begins="%").text


def test_the_fleet_counts_and_finds_by_id_and_label(
    server: Running, enrolled: Device, add_run: AddRun
) -> None:
    add_devices(server, 3, site="berlin", name="ünïcode 🚀")
    add_target(server, add_run(), device_seq(server), status="failed")
    with server.store.write() as connection:
        long_ago = update(t.device_state).values(last_seen=NOW)
        connection.execute(long_ago.where(t.device_state.c.device_seq == device_seq(server)))
    guest = Guest(server).sign_in("viewer")
    shown = guest.get("/fleet")
    for words in ("devices 4", "● online 3", "✗ failing 1", "drift 0"):
        assert words in shown.text
    berlin = guest.get("/fleet", q="v-0001", label="site=berlin, name=ünïcode 🚀")
    assert "1 device of 4" in berlin.text
    assert "dev-0001" in berlin.text
    assert "No device fits" in guest.get("/fleet", label="site=paris").text
    assert "pi-0001" in guest.get("/fleet", presence="offline").text
    assert guest.get("/fleet", label="nonsense").status == 422
    for field in ("presence", "status", "trouble", "sort", "colour"):
        assert guest.get("/fleet", **{field: "maybe"}).status == 422
    assert guest.get("/fleet", sort="last_seen", after="maybe").status == 422


def test_the_fleet_is_narrowed_by_type_version_state_and_trouble(
    server: Running, enrolled: Device, add_run: AddRun
) -> None:
    add_devices(server, 2)
    add_target(server, add_run(), device_seq(server), status="failed")
    enrolled.report(enrolled.facts(versions={"hello": {"version": "1.0.0", "sha256": "ab" * 32}}))
    guest = Guest(server).sign_in("viewer")
    asked: list[dict[str, str]] = [
        {"trouble": "failing"},
        {"status": "failed"},
        {"component": "hello", "version": "1.0.0"},
    ]
    for query in asked:
        shown = guest.get("/fleet", **query)
        assert "1 device of 3" in shown.text, query
        assert "pi-0001" in shown.text
    for query in ({"trouble": "drift"}, {"version": "9.9.9"}, {"type": "toaster"}):
        assert "No device fits" in guest.get("/fleet", **query).text, query
    devices = [each for each in guest.get("/fleet", sort="-id").links() if "/devices/" in each]
    assert devices == sorted(devices, reverse=True)
    links = guest.get("/fleet").links()
    assert {"?trouble=failing", "?trouble=drift", "?component=hello&version=1.0.0"} <= {*links}


def test_a_device_tells_its_story(server: Running, enrolled: Device, add_run: AddRun) -> None:
    run = add_run()
    add_target(
        server,
        run,
        device_seq(server),
        status="failed",
        reason="NoSpace",
        error_message="disk full",
    )
    with server.store.write() as connection:
        event = Event("device.failed", "hello", device="pi-0001", reason="NoSpace", message="full")
        record(connection, ORGANIZATION, NOW, event)
    shown = Guest(server).sign_in("viewer").get("/devices/pi-0001")
    for words in ("Deployment hello wants 1.0.0", "It failed: NoSpace: disk full (attempt 1)"):
        assert words in shown.text
    assert "device.failed" in shown.text


def test_events_go_on_to_older_ones_without_a_gap(server: Running) -> None:
    with server.store.write() as connection:
        for number in range(130):
            record(
                connection, ORGANIZATION, NOW + number, Event("run.tuned", message=f"no-{number}-")
            )
    guest = Guest(server).sign_in("viewer")
    first = guest.get("/events")
    (onward,) = [link for link in first.links() if "before=" in link]
    second = guest.get(f"{PAGE}/events{onward}")
    both = [n for n in range(130) if f"no-{n}-" in first.text or f"no-{n}-" in second.text]
    assert len(both) == 130


def test_names_labels_and_messages_are_long_foreign_and_hostile(
    server: Running, enrolled: Device, add_run: AddRun
) -> None:
    run = add_run(deployment_name=HOSTILE, message=SCRIPT, reason="StartAt", author=SCRIPT)
    add_target(server, run, device_seq(server), error_message=SCRIPT, status="failed")
    guest = Guest(server).sign_in("viewer")
    for path in ("", "/deployments/hello", "/devices/pi-0001"):
        shown = guest.get(path)
        assert shown.status == 200
        assert SCRIPT not in shown.html
    assert f'<bdi class="named">{HOSTILE}</bdi>' in guest.get("/deployments/hello").html


def test_nothing_of_another_organization_is_shown(
    server: Running, enrolled: Device, add_run: AddRun
) -> None:
    run = add_run(deployment_name="Secret plan", organization="other")
    with server.store.write() as connection:
        for table in (t.edge_devices, t.events):
            connection.execute(update(table).values(organization="other"))
        record(connection, "other", NOW, Event("run.tuned", message="secret event"))
        run_id = connection.execute(select(t.runs.c.id).where(t.runs.c.seq == run)).scalar_one()
    guest = Guest(server).sign_in("admin")
    for path in ("", "/fleet", "/events?all=yes"):
        text = guest.get(path).text
        assert "Secret" not in text
        assert "secret" not in text
        assert "pi-0001" not in text
    paths = (f"/deployments/{run_id}", "/deployments/hello", "/devices/pi-0001")
    for path in (*paths, f"/deployments/{run_id}/pause"):
        assert guest.get(path).status == 404


def test_an_older_run_leads_to_the_newest_one(server: Running, add_run: AddRun) -> None:
    add_run(status="completed")
    add_run(turn=2)
    with server.store.read() as connection:
        old = connection.execute(select(t.runs.c.id).order_by(t.runs.c.seq)).scalars().first()
    shown = Guest(server).sign_in("operator").get(f"/deployments/{old}")
    assert "A newer run took its place" in shown.text
    assert not [link for link in shown.links() if link.endswith("/rollback")]


def test_the_arms_of_an_experiment_stand_side_by_side(server: Running, add_run: AddRun) -> None:
    seqs = add_devices(server, 2)
    run = add_run()
    add_batch(server, run, 0)
    for seq, arm in zip(seqs, ("current", "candidate"), strict=True):
        add_target(server, run, seq, batch=0, arm=arm, status="completed", verified_at=NOW + 30)
    shown = Guest(server).sign_in("viewer").get("/deployments/hello")
    for words in (
        "Experiment candidate 1.0.0 ✓ completed 1",
        "current 1.0.0 ✓ completed 1",
        "half of its devices took 30 s or less",
    ):
        assert words in shown.text


def test_a_run_without_a_package_yet_is_shown(server: Running) -> None:
    with server.store.write() as connection:
        connection.execute(insert(t.runs), run_values(server, "bare") | {"metadata": {}})
    assert Guest(server).sign_in("viewer").get("/deployments/bare").status == 200
