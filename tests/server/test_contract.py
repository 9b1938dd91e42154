"""Every call of the contract in one story, over a real server and repository, with old devices."""

import time
from dataclasses import dataclass
from typing import Any

import pytest

from tests.server.test_admin_create import DIRECT, Fleet, fleet
from tests.server.test_serve import settings

__all__ = ["fleet", "settings"]

CREATED = {
    "deployment_id", "deployment_name", "target_version", "target_devices", "rollout_strategy",
    "status", "created_at",
}  # fmt: skip
LISTED = {
    "deployment_id", "deployment_name", "target_version", "rollout_strategy", "status",
    "progress_percentage", "total_devices", "completed_devices", "created_at", "started_at",
}  # fmt: skip
DETAIL = {
    "deployment_id", "deployment_name", "target_version", "rollout_strategy", "status",
    "started_at", "created_at", "metadata", "progress", "status_breakdown", "devices",
}  # fmt: skip
DEVICE = {
    "device_id", "device_name", "current_version", "status", "started_at", "completed_at",
    "error_message",
}  # fmt: skip
PROGRESS = {"total_devices", "completed", "failed", "in_progress", "pending", "percentage"}
OFFER = {
    "update_available", "deployment_id", "target_version", "update_package_url", "checksum",
    "release_notes",
}  # fmt: skip
ADMIN = "/api/v1/admin/ota"


@dataclass
class OldDevice:
    """One that knows the contract's two calls only."""

    fleet: Fleet
    id: str
    token: str = ""

    def __post_init__(self) -> None:
        path = f"{ADMIN}/devices/{self.id}/token"
        body = {"device_type": "raspberry_pi"}
        answer = self.fleet.client.post(path, json=body, headers=self.fleet.headers("admin"))
        assert answer.status_code == 201, answer.text
        self.token = answer.json()["token"]

    def call(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        answer = self.fleet.client.request(
            method,
            f"/api/v1/ota{path}",
            params={"device_id": self.id},
            headers={"Authorization": f"TargetToken {self.token}"},
            json=body,
        )
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def check(self) -> dict[str, Any]:
        return self.call("GET", "/check-update")

    def offered(self, version: str) -> dict[str, Any]:
        """Ask until it is offered."""
        deadline = time.monotonic() + 30
        while (offer := self.check()).get("target_version") != version:
            assert time.monotonic() < deadline, offer
        assert offer.keys() == OFFER
        return offer

    def install(self, offer: dict[str, Any]) -> None:
        for word in ("downloading", "installing", "verifying", "completed"):
            body = {"status": word, "error_message": None}
            said = self.call("POST", f"/deployments/{offer['deployment_id']}/status", body)
            assert said == {"status": "success", "message": f"Status updated to {word}"}
        self.check()


@pytest.fixture
def devices(fleet: Fleet) -> list[OldDevice]:
    """Two old devices that are let in and were seen."""
    fleet.commit(policy=DIRECT)
    answer = fleet.client.put(
        f"{ADMIN}/old-devices", json={"allowed": True}, headers=fleet.headers("admin")
    )
    assert answer.status_code == 200
    made = [OldDevice(fleet, f"pi-004{n}") for n in (2, 3)]
    assert [each.check() for each in made] == [{"update_available": False}] * 2
    assert fleet.get("/devices", presence="online")["total"] == 2
    return made


def made(fleet: Fleet, version: str, **changes: Any) -> dict[str, Any]:
    changes |= {"target_version": version, "release": fleet.statement(version)}
    changes["update_package_url"] = f"https://cdn.example.com/updates/{version}.tar.gz"
    created = fleet.made(deployment_name=f"Firmware Update {version}", **changes)
    assert created.keys() >= CREATED
    assert (created["status"], created["rollout_strategy"]) == ("pending", "canary")
    return created


def test_the_contracts_calls_in_their_order(fleet: Fleet, devices: list[OldDevice]) -> None:
    one, other = devices
    first = made(fleet, "v2.0.0")
    assert first["target_devices"] == 2
    path = f"/deployments/{first['deployment_id']}"
    (listed,) = fleet.get("/deployments", status="pending", page=1, page_size=20)["deployments"]
    assert listed.keys() >= LISTED
    assert (listed["total_devices"], fleet.get(path)["progress"]["pending"]) == (2, 2)
    started = fleet.verb(first["deployment_id"], "start").json()
    assert started["status"] in ("pending", "in_progress")
    assert started["reason"] != "WaitingForStart"
    for verb, status in (("pause", "paused"), ("resume", "in_progress")):
        fleet.until(lambda: fleet.get(path)["status"] != "pending")
        assert fleet.verb(first["deployment_id"], verb).json()["status"] == status
    shown = fleet.get("/deployments", status="in_progress", page=1, page_size=20)
    assert shown["pagination"] == {
        "page": 1,
        "page_size": 20,
        "total_count": 1,
        "total_pages": 1,
    }
    roll_out(devices, "v2.0.0")
    fleet.until(lambda: fleet.get(path)["status"] == "completed")
    detail = fleet.get(path)
    assert detail.keys() >= DETAIL
    assert detail["metadata"].keys() >= {"update_package_url", "checksum", "release_notes"}
    assert detail["progress"].keys() >= PROGRESS
    assert detail["progress"]["percentage"] == 100.0
    assert all(device.keys() >= DEVICE for device in detail["devices"])
    assert [each["current_version"] for each in detail["devices"]] == ["v2.0.0"] * 2

    second = made(
        fleet, "v2.1.0", device_filters={"device_type": "raspberry_pi", "status": "online"}
    )
    assert fleet.verb(second["deployment_id"], "start").status_code == 200
    roll_out(devices, "v2.1.0")
    fleet.until(
        lambda: fleet.get(f"/deployments/{second['deployment_id']}")["status"] == "completed"
    )
    back = f"{ADMIN}/deployments/{second['deployment_id']}/devices/pi-0042/rollback"
    wrong = fleet.client.post(
        back, json={"previous_version": "v1.0.0"}, headers=fleet.headers("operator")
    )
    assert wrong.status_code == 409
    assert "v2.0.0" in wrong.json()["detail"]
    answer = fleet.client.post(
        back, json={"previous_version": "v2.0.0"}, headers=fleet.headers("operator")
    )
    assert (answer.status_code, answer.json()["status"]) == (200, "success"), answer.text
    one.install(one.offered("v2.0.0"))
    assert other.check() == {"update_available": False}
    (pin,) = fleet.get("/devices/pi-0042")["components"].values()
    assert (pin["current"], pin["pin"]["version"]) == ("v2.0.0", "v2.0.0")
    refused = fleet.verb(second["deployment_id"], "cancel")
    assert refused.status_code == 409
    assert "allowed: " in refused.json()["detail"]


def roll_out(devices: list[OldDevice], version: str) -> None:
    """A canary: each device in its turn."""
    waiting, deadline = list(devices), time.monotonic() + 60
    while waiting:
        assert time.monotonic() < deadline
        for device in list(waiting):
            offer = device.check()
            if offer.get("target_version") == version:
                device.install(offer)
                waiting.remove(device)
