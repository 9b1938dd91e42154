"""What the API shows of a Deployment beyond the contract: holds, batches, arms, health, groups."""

from typing import Any

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
    wall,
)
from tests.server.test_admin import get
from tests.server.test_device import device_seq
from towline.manifests.load import load
from towline.reconciler.head import CommitSeen, Head
from towline.reconciler.store import inventory, reading_lengths
from towline.reconciler.store import tables as t
from towline.schemas import times
from towline.schemas.reports import Installed

FLEET = b"""apiVersion: towline/v1
kind: DeviceGroup
metadata: {name: lab}
spec: {filters: {labels: {stage: lab}}}
---
apiVersion: towline/v1
kind: Deployment
metadata: {name: hello}
spec:
  component: hello
  targetVersion: "1.0.0"
  filters: {group: lab}
  package: {url: hello.tar.gz, checksum: "sha256:%s"}
  strategy: {type: canary, percentage: 10}
""" % (b"ab" * 32)


def put_in_force(server: Running) -> str:
    """FLEET is in force; returns the revision of hello."""
    loaded = load({"fleet.yaml": FLEET})
    assert not loaded.errors
    head = Head(
        ORGANIZATION,
        CommitSeen("f" * 40),
        server.root,
        deployments=loaded.deployments,
        groups=loaded.groups,
    )
    server.heads.append(head)
    return loaded.deployments["hello"].revision


def hold(server: Running, run: int, reason: str) -> None:
    with server.store.write() as connection:
        values = {"organization": ORGANIZATION, "deployment": "hello", "author": "towline"}
        connection.execute(
            insert(t.holds),
            values | {"run_seq": run, "reason": reason, "message": f"why {reason}", "since": NOW},
        )


def detail(server: Running) -> dict[str, Any]:
    found: dict[str, Any] = get(server, "/deployments/hello").json()
    return found


def test_the_gravest_hold_is_first_and_shown_and_each_says_who_clears_it(
    server: Running, add_run: AddRun
) -> None:
    run = add_run(status="paused", reason="RollingOut", message="batch 1 of 2")
    for reason in ("PausedByUser", "ThresholdNotMet"):
        hold(server, run, reason)
    found = detail(server)
    assert [(each["reason"], each["clearedBy"]) for each in found["holds"]] == [
        ("ThresholdNotMet", "retry, or resume --accept"),
        ("PausedByUser", "resume, or its time running out"),
    ]
    assert (found["reason"], found["message"]) == ("ThresholdNotMet", "why ThresholdNotMet")
    assert found["reasons"] == ["ThresholdNotMet", "PausedByUser"]
    assert found["health"] == "paused"


def test_a_held_batch_waits_for_who_clears_the_hold(server: Running, add_run: AddRun) -> None:
    run = add_run(status="paused", reason="RollingOut")
    add_batch(server, run)
    hold(server, run, "ThresholdNotMet")
    (batch,) = detail(server)["batches"]
    assert batch["waitsFor"] == "retry, or resume --accept (ThresholdNotMet)"


def test_batches_still_to_come_are_shown_with_what_they_wait_for(
    server: Running, add_run: AddRun
) -> None:
    run = add_run(revision=put_in_force(server), reason="RollingOut", message="batch 1 of 2")
    add_batch(server, run, 0)
    with server.store.write() as connection:
        connection.execute(update(t.batches).values(is_last=False))
    first, last = detail(server)["batches"]
    assert (first["state"], first["waitsFor"]) == ("open", "the verdicts of its devices")
    assert (last["state"], last["plannedSize"], last["size"]) == ("waiting", "the rest", None)
    assert last["waitsFor"] == f"batch {first['name']}"


def test_a_soaking_batch_says_until_when(server: Running, add_run: AddRun) -> None:
    add_batch(server, add_run(), 0)
    with server.store.write() as connection:
        since = wall()
        values = {"state": "soaking", "soak_s": 3600, "last_verdict_at": since}
        connection.execute(update(t.batches).values(**values))
    (batch,) = detail(server)["batches"]
    assert batch["waitsFor"] == f"its soak, until {times.to_rfc3339(since + 3600)}"


def test_a_batch_that_is_over_waits_for_nothing(server: Running, add_run: AddRun) -> None:
    add_batch(server, add_run(), 0)
    with server.store.write() as connection:
        connection.execute(update(t.batches).values(state="passed"))
    (batch,) = detail(server)["batches"]
    assert batch["waitsFor"] == ""


def enrol(server: Running, count: int) -> list[int]:
    for n in range(count):
        assert Device(server, f"pi-{n}").enrol(server.join_token()).status_code == 201
    with server.store.write() as connection:
        connection.execute(update(t.device_state).values(last_seen=wall()))
        return list(range(1, count + 1))


def test_arms_are_counted_side_by_side_with_their_medians(server: Running, add_run: AddRun) -> None:
    run = add_run()
    add_batch(server, run)
    for seq, (arm, took) in enumerate([("a", 10), ("a", 30), ("a", 90), ("b", 40), ("b", 60)], 1):
        if seq == 1:
            enrol(server, 5)
        times = {"granted_at": NOW, "verified_at": NOW + took}
        add_target(server, run, seq, status="completed", arm=arm, **times)
    arms = [
        {"arm": "a", "counts": {"completed": 3}, "medianSeconds": 30},
        {"arm": "b", "counts": {"completed": 2}, "medianSeconds": 50},
    ]
    found = detail(server)
    assert found["arms"] == arms
    assert found["batches"][0]["arms"] == arms


def test_without_an_experiment_a_batch_has_one_median(
    server: Running, enrolled: Device, add_run: AddRun
) -> None:
    run = add_run()
    add_batch(server, run)
    times = {"granted_at": NOW, "verified_at": NOW + 42}
    add_target(server, run, device_seq(server), status="completed", **times)
    (batch,) = detail(server)["batches"]
    assert (batch["arms"], batch["medianSeconds"]) == ([], 42)


def test_a_completed_run_whose_device_drifted_is_degraded(
    server: Running, enrolled: Device, add_run: AddRun
) -> None:
    run = add_run(status="completed")
    seen = {"verified_at": NOW, "sha256": "ab" * 32}
    add_target(server, run, device_seq(server), status="completed", **seen)
    enrolled.report(enrolled.facts(versions={"hello": {"version": "1.0.0", "sha256": "ab" * 32}}))
    assert (detail(server)["health"], detail(server)["drifted"]) == ("healthy", 0)
    enrolled.report(enrolled.facts(versions={"hello": {"version": "0.1.0", "sha256": "cd" * 32}}))
    assert (detail(server)["health"], detail(server)["drifted"]) == ("degraded", 1)


def test_what_a_former_run_delivered_is_no_drift(
    server: Running, enrolled: Device, add_run: AddRun
) -> None:
    former = add_run(status="completed")
    seen = {"verified_at": NOW, "sha256": "ab" * 32}
    add_target(server, former, device_seq(server), status="completed", **seen)
    enrolled.report(enrolled.facts(versions={"hello": {"version": "2.0.0", "sha256": "cd" * 32}}))
    add_run(turn=2)
    newer, older = get(server, "/deployments").json()["deployments"]
    assert (newer["turn"], older["drifted"], older["health"]) == (2, 0, "healthy")


def test_what_another_deployment_installed_is_no_drift(
    server: Running, enrolled: Device, add_run: AddRun
) -> None:
    seen = {"verified_at": NOW, "status": "completed"}
    former, newer = add_run(status="completed"), add_run("other", component="hello")
    add_target(server, former, device_seq(server), sha256="ab" * 32, **seen)
    add_target(server, newer, device_seq(server), sha256="cd" * 32, **seen)
    enrolled.report(enrolled.facts(versions={"hello": {"version": "2.0.0", "sha256": "cd" * 32}}))
    assert detail(server)["drifted"] == 0


@pytest.mark.parametrize("status", ["in_progress", "completed"])
def test_a_run_whose_devices_are_all_silent_is_unknown(
    server: Running, enrolled: Device, add_run: AddRun, status: str
) -> None:
    state = "installing" if status == "in_progress" else "completed"
    add_target(server, add_run(status=status), device_seq(server), status=state, attempt=2)
    with server.store.write() as connection:
        connection.execute(update(t.device_state).values(last_seen=wall() - 901))
    found = detail(server)
    assert found["health"] == "unknown"
    (quiet,) = found["silent"]
    assert (quiet["device_id"], quiet["status"], quiet["attempt"]) == ("pi-0001", state, 2)


def test_groups_are_listed_with_what_they_have(server: Running) -> None:
    assert get(server, "/groups").json() == {"groups": []}
    put_in_force(server)
    for name, stage in (("pi-1", "lab"), ("pi-2", "production")):
        token = server.join_token(labels={"stage": stage})
        assert Device(server, name).enrol(token).status_code == 201
    assert get(server, "/groups").json()["groups"] == [
        {
            "name": "lab",
            "file": "fleet.yaml",
            "devices": 1,
            "filters": {"labels": {"stage": "lab"}},
            "deployments": ["hello"],
        }
    ]


def test_a_deployments_story_says_what_is_decided(server: Running, add_run: AddRun) -> None:
    add_run(revision=put_in_force(server), status="pending", started_at=None, offer=None)
    story = get(server, "/deployments/hello/explain").json()
    assert story["decision"]["actions"] == ["Hold"]
    assert "Now: WaitingForStatement: " in story["text"]
    assert "a commit with the statement (`towline release sign`)" in story["text"]
    assert get(server, "/deployments/ghost/explain").status_code == 404


@pytest.mark.parametrize(
    ("devices", "states"), [("all", ["completed", "failed"]), ("failing", ["failed"]), ("none", [])]
)
def test_a_detail_lists_as_many_devices_as_are_asked_for(
    server: Running, add_run: AddRun, devices: str, states: list[str]
) -> None:
    run = add_run()
    for seq, state in zip(enrol(server, 2), ("completed", "failed"), strict=True):
        add_target(server, run, seq, status=state)
    found = get(server, "/deployments/hello", devices=devices).json()
    assert [device["status"] for device in found["devices"]] == states
    assert found["progress"]["total_devices"] == 2


def test_of_two_packages_each_device_is_held_to_its_own(server: Running, add_run: AddRun) -> None:
    releases = [{"sha256": "ab" * 32}, {"sha256": "cd" * 32}]
    run = add_run(status="completed", offer={"releases": releases})
    for seq, sha256 in zip(enrol(server, 3), ("ab", "cd", "cd"), strict=True):
        add_target(server, run, seq, status="completed", verified_at=NOW, sha256=sha256 * 32)
        runs = Installed("1.0.0", ("cd" if seq == 1 else sha256) * 32)
        with server.store.write() as connection:
            inventory.set_versions(connection, seq, {"hello": runs}, NOW)
    assert detail(server)["drifted"] == 1
    (drifted,) = get(server, "/devices", drift=True).json()["devices"]
    assert drifted["id"] == "pi-0"


def test_the_median_of_a_large_batch_is_that_of_a_fair_sample(
    server: Running, add_run: AddRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading_lengths, "SAMPLE", 2)
    run = add_run()
    for number in (1, 2):
        add_batch(server, run, number)
    # By its order the first batch shows 10 and 20 for three devices, the second one 90.
    lengths = [(1, 0, 10), (1, 1, 20), (1, 2, 500), (2, 0, 90)]
    for seq, (batch, position, took) in zip(enrol(server, 4), lengths, strict=True):
        times = {"granted_at": NOW, "verified_at": NOW + took, "status": "completed"}
        add_target(server, run, seq, batch=batch, position=position, **times)
    found = detail(server)
    assert [batch["medianSeconds"] for batch in found["batches"]] == [15, 90]
    assert found["medianSeconds"] == 20
