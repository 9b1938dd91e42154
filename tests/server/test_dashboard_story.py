"""What the pages tell of a run's course and origin, and of a device's past."""

import pytest
from sqlalchemy import insert, update

from tests.server.conftest import (
    NOW,
    ORGANIZATION,
    AddRun,
    Device,
    Running,
    add_batch,
    add_target,
)
from tests.server.test_admin_create import DIRECT, Fleet, fleet
from tests.server.test_dashboard_pages import add_devices
from tests.server.test_device import device_seq
from tests.server.test_serve import settings
from tests.server.visiting import Guest
from towline.reconciler.manifest_diff import LINES_LIMIT, DiffLine, LineKind, manifest_diff
from towline.reconciler.offer import Offer, OfferedRelease
from towline.reconciler.server.dashboard.chart import chart, rows
from towline.reconciler.server.dashboard.failures import failure
from towline.reconciler.store import reading_pace
from towline.reconciler.store import tables as t
from towline.reconciler.store.events import Event, record
from towline.reconciler.store.reading_pace import Moment

__all__ = ["fleet", "settings"]

K, A, R, G = LineKind.KEPT, LineKind.ADDED, LineKind.REMOVED, LineKind.GAP


def test_the_pace_of_a_run_counts_up_to_its_end(server: Running, add_run: AddRun) -> None:
    seqs = add_devices(server, 4)
    run = add_run(target_count=4)
    ends = ((0, "completed"), (99, "failed"), (100, "completed"), (130, "rolled_back"))
    for seq, (at, status) in zip(seqs, ends, strict=True):
        add_target(server, run, seq, status=status, completed_at=NOW + at)
    with server.store.read() as connection:
        found = reading_pace.pace(connection, run, NOW, NOW + 120, 4)
    assert [(each.at - NOW, each.completed, each.failed) for each in found] == [
        (0, 0, 0),
        (30, 1, 0),
        (60, 1, 0),
        (90, 1, 0),
        # What ended later counts as of the end.
        (120, 2, 2),
    ]


def test_the_page_shows_the_course_as_a_picture_in_words_and_as_a_table(
    server: Running, add_run: AddRun
) -> None:
    (seq,) = add_devices(server, 1)
    run = add_run(target_count=3, status="completed", completed_at=NOW + 600)
    add_target(server, run, seq, status="completed", completed_at=NOW + 60)
    shown = Guest(server).sign_in("viewer").get("/deployments/hello")
    words = "From 2026-09-21 14:13:20 UTC to 2026-09-21 14:23:20 UTC 1 of 3 devices completed"
    assert f"{words} and 0 failed." in shown.text
    assert "The chart as a table Devices of 3 by then By Completed Failed" in shown.text
    (picture,) = [each for each in shown.elements if each.tag == "svg"]
    assert picture.attributes["role"] == "img"
    assert "style" not in picture.attributes


def test_a_run_that_has_not_begun_has_no_chart(server: Running, add_run: AddRun) -> None:
    add_run(started_at=None, status="pending", reason="WaitingForStart")
    shown = Guest(server).sign_in("viewer").get("/deployments/hello")
    assert not [each for each in shown.elements if each.tag == "svg"]


def test_a_chart_ends_at_its_last_figures() -> None:
    moments = tuple(Moment(NOW + 10 * n, n, n // 20) for n in range(61))
    drawn = chart(moments, 120)
    # Half of all: the middle of the upper frame, which is 12 to 132 high.
    assert 'points="56.0,132.0 ' in drawn
    assert "650.0,72.0" in drawn
    assert "✓ 60" in drawn
    assert "✗ 3" in drawn
    assert len(rows(moments)) == 12
    assert rows(moments)[-1] == moments[-1]
    assert chart(moments[:1], 3) == ""


@pytest.mark.parametrize(
    ("before", "after", "lines"),
    [
        ("a\nb\n", "a\nb\n", []),
        ("", "a\n", [(A, "a")]),
        ("a\nb\nc\n", "a\nB\nc\n", [(K, "a"), (R, "b"), (A, "B"), (K, "c")]),
        (
            "1\n2\n3\n4\n5\n6\n7\n8\n9\n",
            "1\n2\n3\n4\n5x\n6\n7\n8\n9\n",
            [
                (G, ""),
                *[(K, each) for each in "234"],
                (R, "5"),
                (A, "5x"),
                *[(K, each) for each in "678"],
                (G, ""),
            ],
        ),
    ],
)
def test_a_diff_line_by_line(before: str, after: str, lines: list[tuple[LineKind, str]]) -> None:
    assert manifest_diff(before, after) == [DiffLine(*each) for each in lines]


def test_a_long_diff_is_cut() -> None:
    found = manifest_diff("", "line\n" * 2000)
    assert len(found) == LINES_LIMIT + 1
    assert found[-1].kind is G


def test_the_page_shows_how_the_manifest_differs_from_the_run_before(fleet: Fleet) -> None:
    fleet.commit(policy=DIRECT)
    first = fleet.made(start="automatic", rollout_strategy="immediate", rollout_percentage=None)
    guest = Guest(fleet).sign_in("viewer")
    shown = guest.get(f"/deployments/{first['deployment_id']}")
    assert "deployments/firmware-update-v2.1.0.yaml" in shown.text
    assert "added: targetVersion: v2.1.0" in shown.text
    second = fleet.made(
        start="automatic",
        rollout_strategy="immediate",
        rollout_percentage=None,
        target_version="v2.2.0",
    )
    shown = guest.get(f"/deployments/{second['deployment_id']}")
    assert "removed: targetVersion: v2.1.0" in shown.text
    assert "added: targetVersion: v2.2.0" in shown.text
    assert f"of commit {first['commit'][:12]}" in shown.text
    assert "kind: Deployment" not in shown.text


@pytest.mark.parametrize(
    ("reason", "message", "step", "ended"),
    [
        ("InstallFailed", "install.sh exited with 3: no room", "install", "install.sh: exit 3"),
        (
            "HealthCheckFailed",
            "probe: not healthy within 60 s (health/pos.sh exited with 1)",
            "health check",
            "pos.sh: exit 1",
        ),
        ("InstallFailed", "install.sh was ended by SIGSEGV", "install", "install.sh: SIGSEGV"),
        (
            "InstallFailed",
            "install.sh ran out of time and was killed: x",
            "install",
            "install.sh: out of time",
        ),
        ("DownloadFailed", "no route", "download", ""),
        ("Unheard", "", "", ""),
    ],
)
def test_a_failure_says_its_step_and_how_it_ended(
    reason: str, message: str, step: str, ended: str
) -> None:
    found = failure(reason, message)
    assert (found.step, found.ended) == (step, ended)


def test_the_arms_show_what_each_delivers_and_how_it_went(server: Running, add_run: AddRun) -> None:
    seqs = add_devices(server, 3)
    run = add_run()
    add_batch(server, run, 0)
    with server.store.write() as connection:
        releases = tuple(
            OfferedRelease(version, "ab" * 32, 0, ("a.tar.gz",), {}, arm=arm)
            for arm, version in (("old", "1.0.0"), ("new", "2.0.0"))
        )
        offer = Offer(releases, install_timeout_s=600, device_timeout_s=3600, health=())
        connection.execute(update(t.runs).values(offer=offer.document()))
    for seq, arm, status in zip(
        seqs, ("old", "new", "new"), ("completed", "completed", "failed"), strict=True
    ):
        add_target(server, run, seq, batch=0, arm=arm, status=status)
    shown = Guest(server).sign_in("viewer").get("/deployments/hello").text
    assert "new 2.0.0 ✓ completed 1 ✗ failed 1 1 of 2 verdicts passed" in shown
    assert "old 1.0.0 ✓ completed 1 1 of 1 verdict passed" in shown


def test_a_device_shows_its_runs_and_its_journal(
    server: Running, enrolled: Device, add_run: AddRun
) -> None:
    first = add_run(status="completed")
    second = add_run(turn=2, target_version="2.0.0")
    common = {"started_at": NOW, "completed_at": NOW + 5}
    add_target(server, first, device_seq(server), status="completed", **common)
    add_target(
        server,
        second,
        device_seq(server),
        status="rolled_back",
        reason="InstallFailed",
        from_version="1.0.0",
        attempt=2,
        **common,
    )
    with server.store.write() as connection:
        ids = list(connection.execute(t.runs.select().order_by(t.runs.c.seq)).all())
        for kind, message in (("installing", ""), ("rolled_back", "install.sh exited with 3")):
            event = Event(
                f"device.{kind}", "hello", run=ids[1].id, device="pi-0001", message=message
            )
            record(connection, ORGANIZATION, NOW, event)
        connection.execute(
            insert(t.events),
            {
                "at": NOW,
                "organization": "other",
                "kind": "device.failed",
                "device": "pi-0001",
                "run": ids[1].id,
                "message": "of another organization",
                "data": {},
            },
        )
    shown = Guest(server).sign_in("viewer").get("/devices/pi-0001").text
    history = shown[shown.index("History") :]
    assert "hello 1.0.0 → 2.0.0 ↩ rolled back InstallFailed 2 2026-09-21 14:13:20 UTC" in history
    assert history.index("2.0.0") < history.index("✓ completed")
    journal = shown[shown.index("Journal of the last attempts") : shown.index("Facts and labels")]
    assert journal.index("rolled back") < journal.index("installing")
    assert "install.sh exited with 3" in journal
    assert "of another organization" not in shown
