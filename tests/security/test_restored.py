"""A real server whose store is put back to an older copy, and a real agent that goes on."""

import shutil
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.server.test_serve import client_of, serving
from towline.agent import identity, loop
from towline.agent.device import Device
from towline.agent.layout import Layout
from towline.agent.stop import Stop
from towline.cli import main
from towline.reconciler.server.serve import TOKEN_FILE, ServeSettings
from towline.schemas.enrolment import JoinString


class Fleet:
    """A fleet repository, what serves it, and one device."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.repository = folder / "fleet"
        self.run("init", str(self.repository), "--organization", "acme")
        self.store = folder / "data" / "towline.db"
        self.layout = Layout(folder / "device")
        self.settings = ServeSettings(
            organization="acme",
            repository=self.repository,
            path="",
            branch="main",
            data=folder / "data",
            host="127.0.0.1",
            port=_free_port(),
            is_lan=False,
            online_key=self.repository / ".towline/keys/online.pem",
            packages=self.repository / "packages",
            poll_interval_s=1,
            git_interval_s=1,
        )

    def run(self, *arguments: str) -> None:
        assert main.run(list(arguments)) == 0

    def publish(self, version: str) -> None:
        package = self.folder / "hello"
        package.mkdir(exist_ok=True)
        (package / "install.sh").write_text("#!/bin/sh\nexit 0\n", encoding="utf-8")
        (package / "version.txt").write_text(version, encoding="utf-8")
        options = ("--strategy", "rolling", "--repo", str(self.repository))
        self.run("publish", str(package), "--version", version, *options)

    def enrol(self, client: httpx.Client) -> None:
        answer = client.post("/api/v1/admin/ota/join-tokens", json={}, headers=self.admin())
        assert answer.status_code == 201, answer.text
        identity.enrol(self.layout, JoinString.parse(answer.json()["join"]), "pi-1", None)

    def admin(self) -> dict[str, str]:
        token = (self.settings.data / TOKEN_FILE).read_text().strip()
        return {"Authorization": f"Bearer {token}"}

    def work(self) -> bool:
        """One poll and what follows from it, as the agent does."""
        device = Device(self.layout, identity.load(self.layout), Stop())
        try:
            return loop.once(device)
        finally:
            device.server.close()

    def deployment(self, client: httpx.Client) -> dict[str, Any]:
        found: dict[str, Any] = client.get(
            "/api/v1/admin/ota/deployments/hello", headers=self.admin()
        ).json()
        return found

    def reasons(self, client: httpx.Client) -> list[str]:
        return [each["reason"] for each in self.deployment(client)["holds"]]

    def runs(self) -> str:
        current = self.layout.current("hello")
        return current.version if current else ""

    @contextmanager
    def served(self) -> Iterator[httpx.Client]:
        with serving(self.settings) as lines, client_of(self.settings, lines) as client:
            yield client


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def until(is_so: Callable[[], bool], what: str) -> None:
    ends_at = time.monotonic() + 100
    while not is_so():
        assert time.monotonic() < ends_at, f"waited in vain for {what}"
        time.sleep(0.3)


def test_row_37_a_server_that_is_restored_is_followed_by_its_devices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SERVER", "TOKEN", "CA", "ORGANIZATION"):
        monkeypatch.delenv(f"TOWLINE_{name}", raising=False)
    fleet = Fleet(tmp_path)
    fleet.publish("1.0.0")
    backup = tmp_path / "backup.db"

    def has(client: httpx.Client, version: str) -> Callable[[], bool]:
        def is_so() -> bool:
            fleet.work()
            found = fleet.deployment(client)
            over = (found.get("status"), found.get("target_version")) == ("completed", version)
            return over and fleet.runs() == version

        return is_so

    with fleet.served() as client:
        fleet.enrol(client)
        until(has(client, "1.0.0"), "1.0.0")
        fleet.run("backup", str(backup), "--store", str(fleet.store))
        fleet.publish("2.0.0")
        until(has(client, "2.0.0"), "2.0.0")
    before = Device(fleet.layout, identity.load(fleet.layout), Stop())

    for name in ("", "-wal", "-shm"):
        fleet.store.with_name(fleet.store.name + name).unlink(missing_ok=True)
    shutil.copy(backup, fleet.store)
    with fleet.served() as client:
        until(lambda: fleet.deployment(client).get("target_version") == "2.0.0", "git's newest")
        # A report that comes too soon after others waits for the next poll.
        until(lambda: fleet.work() and bool(fleet.reasons(client)), "the device to be heard")
        assert fleet.reasons(client) == ["RestoredFromBackup"]
        approved = client.post(
            "/api/v1/admin/ota/deployments/hello/approve",
            json={"reason": "the pause of last night was not lost"},
            headers=fleet.admin(),
        )
        assert approved.status_code == 200, approved.text
        until(has(client, "2.0.0"), "the run to go on")
        assert fleet.reasons(client) == []
        events = client.get("/api/v1/admin/ota/events", headers=fleet.admin()).json()["events"]
        assert "document.refused" not in {event["kind"] for event in events}

    after = Device(fleet.layout, identity.load(fleet.layout), Stop())
    assert after.trust.state.sequence > before.trust.state.sequence
    assert after.journal.state.downloads == before.journal.state.downloads
    assert after.journal.state.refused == ""
