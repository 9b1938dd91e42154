"""The README's tour by hand: real commands, a real server, two real agents.

They serve all of these tests; each of them ships a component of its own.
"""

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from towline.cli.demo_fleet import TOWLINE, DemoFleet

INSTALL = '#!/bin/sh\necho "$TOWLINE_VERSION" > "$TOWLINE_ROOT/$TOWLINE_COMPONENT.version"\n'


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DemoFleet]:
    """A server and two devices that run."""
    fleet = DemoFleet(tmp_path_factory.mktemp("tour"), ["till-1", "till-2"])
    try:
        fleet.begin()
        fleet.enrol()
        yield fleet
    finally:
        fleet.stop()


def towline(
    fleet: DemoFleet, *arguments: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    """One command in the fleet repository, with the exit code that it has."""
    return subprocess.run(
        [*TOWLINE, *arguments],
        cwd=fleet.repository,
        env={**fleet.environment, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )


def listed(fleet: DemoFleet, *arguments: str) -> list[dict[str, Any]]:
    document = json.loads(fleet.towline(*arguments, "-o", "json"))
    assert document["apiVersion"] == "towline/v1"
    items: list[dict[str, Any]] = document["items"]
    return items


def publish(
    fleet: DemoFleet, component: str, version: str, *options: str, health: str = "exit 0"
) -> None:
    folder = fleet.folder / component
    folder.mkdir(exist_ok=True)
    for name, text in (("install.sh", INSTALL), ("health.sh", f"#!/bin/sh\n{health}\n")):
        (folder / name).write_text(text, encoding="utf-8")
        (folder / name).chmod(0o755)
    fleet.towline("publish", str(folder), "--version", version, *options)


def installed(fleet: DemoFleet, component: str) -> dict[str, str]:
    return {
        name: (fleet.root(name) / f"{component}.version").read_text(encoding="utf-8").strip()
        for name in fleet.devices
    }


def test_a_release_arrives_and_a_bad_one_goes_no_further_than_the_canary(
    fleet: DemoFleet,
) -> None:
    before = downloads(fleet)
    publish(fleet, "hello", "1.0.0")
    watched = towline(fleet, "watch", "hello")
    assert watched.returncode == 0, watched.stderr
    assert watched.stdout.endswith("hello 1.0.0: batch rest ✓ passed\n")
    assert towline(fleet, "wait", "hello", "--timeout", "60s").returncode == 0
    assert installed(fleet, "hello") == {"till-1": "1.0.0", "till-2": "1.0.0"}

    publish(fleet, "hello", "2.0.0", health="echo the screen stays dark; exit 1")
    waited = towline(fleet, "wait", "hello", "--timeout", "90s")
    assert waited.returncode == 5, waited.stderr
    assert "ThresholdNotMet" in waited.stderr
    assert "the screen stays dark" in waited.stderr
    assert installed(fleet, "hello") == {"till-1": "1.0.0", "till-2": "1.0.0"}

    (run, first) = listed(fleet, "get", "deployments", "--deployment", "hello")
    assert (run["status"], first["status"]) == ("paused", "completed")
    (canary,) = [d["device_id"] for d in detail(fleet)["devices"] if d["status"] == "rolled_back"]
    (other,) = set(fleet.devices) - {canary}
    more = {name: number - before[name] for name, number in downloads(fleet).items()}
    assert more == {canary: 2, other: 1}
    assert "HealthCheckFailed" in fleet.towline("explain", canary)
    assert "HealthCheckFailed" not in fleet.towline("explain", other)

    refused = towline(fleet, "start", "hello", "--reason", "too late")
    assert refused.returncode == 1
    assert "resume" in refused.stderr
    assert "cancelled" in fleet.towline("cancel", "hello", "--reason", "it is dark")
    assert towline(fleet, "wait", "hello").returncode == 5


def downloads(fleet: DemoFleet) -> dict[str, int]:
    """How often each device has downloaded a package."""
    return {name: int(fleet.status(name)["downloads"]) for name in fleet.devices}


def detail(fleet: DemoFleet) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        fleet.towline("describe", "deployment", "hello", "-o", "json")
    )
    return found


def test_a_package_that_is_not_what_was_signed_changes_nothing(fleet: DemoFleet) -> None:
    publish(fleet, "screen", "1.0.0", "--strategy", "immediate")
    assert towline(fleet, "wait", "screen", "--timeout", "60s").returncode == 0

    publish(fleet, "screen", "1.1.0", "--no-commit")
    package = fleet.repository / "packages" / "screen-1.1.0.tar.gz"
    data = bytearray(package.read_bytes())
    data[len(data) // 2] ^= 1
    package.write_bytes(data)
    fleet.commit("Ship 1.1.0")
    waited = towline(fleet, "wait", "screen", "--timeout", "90s")
    assert waited.returncode == 5, waited.stderr
    assert "ChecksumMismatch" in waited.stderr
    assert installed(fleet, "screen") == {"till-1": "1.0.0", "till-2": "1.0.0"}


def test_people_see_devices_and_events_and_strangers_see_nothing(fleet: DemoFleet) -> None:
    devices = listed(fleet, "get", "devices")
    assert [device["id"] for device in devices] == fleet.devices
    assert all(device["online"] for device in devices)
    kinds = [event["kind"] for event in listed(fleet, "get", "events", "--device", "till-1")]
    assert "device.enrolled" in kinds
    assert fleet.git("rev-parse", "HEAD") in fleet.towline("repo", "status")
    stranger = towline(fleet, "get", "devices", TOWLINE_TOKEN="nobody")
    assert stranger.returncode == 4
    assert stranger.stdout == ""
    waited = towline(fleet, "wait", "ghost")
    assert waited.returncode == 1
    assert "has no Deployment ghost" in waited.stderr
