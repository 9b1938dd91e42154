"""Verbs over the API: what they answer, whom they refuse, what becomes of the devices."""

from typing import Any

import httpx
import pytest
from sqlalchemy import insert, select, update

from tests.server.conftest import (
    NOW,
    AddRun,
    Device,
    Running,
    add_batch,
    add_target,
    run_values,
)
from tests.server.test_device import device_seq
from towline.reconciler.store import tables as t

API = "/api/v1/admin/ota"


def post(server: Running, path: str, role: str = "operator", **body: Any) -> httpx.Response:
    return server.client.post(
        f"{API}/deployments/{path}", json={"reason": "because"} | body, headers=server.admin(role)
    )


def detail(server: Running, name: str = "hello") -> dict[str, Any]:
    found: dict[str, Any] = server.client.get(
        f"{API}/deployments/{name}", headers=server.admin("viewer")
    ).json()
    return found


def came_from(server: Running, version: str | None) -> dict[str, Any]:
    """Where a target of the one device came from."""
    return {"from_version": version, "from_sha256": "aa" * 32 if version else None}


def test_a_pause_may_end_by_itself(server: Running, add_run: AddRun) -> None:
    add_run()
    answer = post(server, "hello/pause", **{"for": "4h"})
    (hold,) = answer.json()["holds"]
    assert (hold["reason"], hold["clearedBy"]) == (
        "PausedByUser",
        "resume, or its time running out",
    )
    with server.store.read() as connection:
        row = connection.execute(select(t.holds)).one()
    assert row.until - row.since == 4 * 3600


@pytest.mark.parametrize(
    ("verb", "body", "words"),
    [
        ("pause", {"for": "4 hours"}, "no duration"),
        ("pause", {"for": "0s"}, "time of zero"),
        ("pause", {"for": "4h", "pause_s": 3}, "not both"),
        ("cancel", {"for": "4h"}, "for is an option of pause"),
        ("pause", {"accept": True}, "accept is an option of resume"),
        ("resume", {"through_windows": True}, "through_windows is an option of approve"),
        ("pause", {"why": "x"}, "why"),
        ("explode", {}, "verb"),
    ],
)
def test_an_option_that_cannot_be_meant_is_422(
    server: Running, add_run: AddRun, verb: str, body: dict[str, Any], words: str
) -> None:
    add_run()
    answer = post(server, f"hello/{verb}", **body)
    assert (answer.status_code, answer.json()["code"]) == (422, "bad-field")
    assert words in answer.json()["detail"]
    assert detail(server)["status"] == "in_progress"


@pytest.mark.parametrize(
    ("status", "version", "fates", "words"),
    [
        ("completed", "0.9.0", {"goesBack": 1}, "1 device goes back"),
        ("completed", None, {"hasNoPrevious": 1}, "1 device has nothing to go back to"),
        ("installing", "0.9.0", {"finishesFirst": 1}, "1 device finishes first"),
        ("downloading", "0.9.0", {"neverBegins": 1}, "1 device never begins"),
        ("failed", "0.9.0", {}, "no device is concerned"),
    ],
)
def test_a_rollback_says_in_counts_what_it_does(
    server: Running,
    enrolled: Device,
    add_run: AddRun,
    status: str,
    version: str | None,
    fates: dict[str, int],
    words: str,
) -> None:
    run = add_run()
    add_target(server, run, device_seq(server), status=status, **came_from(server, version))
    answer = post(server, "hello/rollback").json()
    assert (answer["devices"], answer["did"]) == (fates, words)
    assert (answer["status"], answer["reason"]) == ("in_progress", "RollingBack")


def test_a_cancel_says_who_finishes(server: Running, enrolled: Device, add_run: AddRun) -> None:
    add_target(server, add_run(), device_seq(server), status="verifying")
    answer = post(server, "hello/cancel").json()
    assert (answer["status"], answer["did"]) == ("cancelled", "1 device finishes")


def test_an_approval_lifts_what_waits_for_it_and_nothing_else(
    server: Running, add_run: AddRun
) -> None:
    run = add_run(status="completed")
    refused = post(server, "hello/approve")
    assert (refused.status_code, refused.json()["code"]) == (409, "not-allowed")
    assert "nothing waits for an approval" in refused.json()["detail"]
    hold_run(server, run, "SelfHealHeld")
    assert post(server, "hello/approve").status_code == 200
    with server.store.read() as connection:
        assert connection.execute(select(t.holds)).all() == []


def test_an_approval_of_a_start_says_who_agreed_so_far(server: Running, add_run: AddRun) -> None:
    run = add_run(status="pending", started_at=None)
    hold_run(server, run, "WaitingForApproval")
    answer = post(server, "hello/approve").json()
    assert answer["did"] == "approved so far by operator person"


def hold_run(server: Running, run: int, reason: str) -> None:
    held = {"organization": "acme", "deployment": "hello", "run_seq": run, "message": ""}
    with server.store.write() as connection:
        connection.execute(
            insert(t.holds), held | {"reason": reason, "author": "towline", "since": NOW}
        )


def test_a_device_that_is_tried_again_under_a_failed_gate_is_said_to_wait(
    server: Running, enrolled: Device, add_run: AddRun
) -> None:
    run = add_run()
    add_batch(server, run)
    add_target(server, run, device_seq(server), status="failed", reason="TimedOut")
    hold_run(server, run, "ThresholdNotMet")
    answer = post(server, "hello/devices/pi-0001/retry").json()
    assert "it waits while the run is held by ThresholdNotMet: `towline" in answer["message"]


def test_one_device_is_sent_back_and_pinned(
    server: Running, enrolled: Device, add_run: AddRun
) -> None:
    seq = device_seq(server)
    before = run_values(server, "hello")["offer"] | {"sha256": "aa" * 32}
    add_run(turn=0, status="completed", target_version="0.9.0", offer=before)
    run = add_run(status="completed")
    add_batch(server, run)
    add_target(server, run, seq, status="completed", **came_from(server, "0.9.0"))
    enrolled.report(enrolled.facts(versions={"hello": {"version": "1.0.0", "sha256": "ab" * 32}}))
    refused = post(server, "hello/devices/pi-0001/rollback", previous_version="0.8.0")
    assert (refused.status_code, refused.json()["code"]) == (409, "not-allowed")
    assert "available: 0.9.0" in refused.json()["detail"]
    uuid = server.client.get(f"{API}/devices/pi-0001", headers=server.admin()).json()["uuid"]
    answer = post(server, f"hello/devices/{uuid}/rollback", previous_version="0.9.0")
    assert answer.status_code == 200
    assert answer.json()["status"] == "success"
    assert "towline retry hello --device pi-0001" in answer.json()["message"]
    with server.store.read() as connection:
        assert connection.execute(select(t.device_components.c.pin_version)).scalar_one() == "0.9.0"
    shown = server.client.get(f"{API}/devices/pi-0001", headers=server.admin()).json()
    assert shown["components"]["hello"]["pin"]["by"] == "operator person"
    assert server.wakes.is_set()


def test_a_device_that_can_go_nowhere_is_told_so_whatever_is_asked_for(
    server: Running, enrolled: Device, add_run: AddRun
) -> None:
    run = add_run(status="completed")
    add_batch(server, run)
    add_target(server, run, device_seq(server), status="completed", **came_from(server, "0.9.0"))
    for version in ("0.9.0", "0.8.0"):
        refused = post(server, "hello/devices/pi-0001/rollback", previous_version=version)
        assert refused.status_code == 409
        assert refused.json()["detail"].endswith("; available: nothing")


def test_one_device_is_named_where_the_strategy_is_manual(
    server: Running, enrolled: Device, add_run: AddRun
) -> None:
    add_run(rollout_strategy="manual")
    assert post(server, "hello/devices/pi-0001/start").status_code == 200
    with server.store.write() as connection:
        assert connection.execute(select(t.overrides.c.value)).scalar_one() == "pi-0001"
        connection.execute(update(t.runs).values(rollout_strategy="canary"))
    assert post(server, "hello/devices/pi-0001/start").status_code == 409


def test_a_verb_that_is_for_runs_only_is_409_on_a_device(
    server: Running, enrolled: Device, add_run: AddRun
) -> None:
    add_run()
    refused = post(server, "hello/devices/pi-0001/pause")
    assert refused.status_code == 409
    assert "allowed: start, rollback, retry" in refused.json()["detail"]


def test_what_is_not_there_is_404(server: Running, enrolled: Device, add_run: AddRun) -> None:
    add_run()
    for path in ("ghost/pause", "ghost/devices/pi-0001/retry", "hello/devices/ghost/retry"):
        answer = post(server, path)
        assert (answer.status_code, answer.json()["code"]) == (404, "not-found")


def test_a_viewer_sends_no_device_back(server: Running, enrolled: Device, add_run: AddRun) -> None:
    add_run()
    assert post(server, "hello/devices/pi-0001/rollback", "viewer").status_code == 403
