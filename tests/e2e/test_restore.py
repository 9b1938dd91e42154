"""`towline backup` and `towline restore` by hand: a real server that is stopped, a real agent."""

import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.agent.packages import AgentProcess
from tests.e2e.test_ceremony import free_port
from towline.agent import journal
from towline.agent.layout import Layout
from towline.cli import main
from towline.cli.client import connect
from towline.cli.demo_fleet import TOWLINE
from towline.cli.settings import load
from towline.schemas.problems import Problem


class Fleet:
    """A repository in which the commands run, a server and a device that do, too."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.agent = AgentProcess(folder / "device")
        self.layout = Layout(self.agent.root)
        self._servers: list[subprocess.Popen[bytes]] = []

    def begin(self) -> None:
        (self.folder / "hello").mkdir()
        (self.folder / "hello" / "install.sh").write_text("#!/bin/sh\nexit 0\n", encoding="utf-8")
        settings = Path("towline.toml")
        settings.write_text(
            f"{settings.read_text()}\nlisten = '127.0.0.1:{free_port()}'\n"
            "poll_interval = 1\ngit_interval = 1\n"
        )
        self.serve()

    def serve(self) -> None:
        """Start the server, and wait until it answers."""
        with (self.folder / "server.log").open("ab") as log:
            server = subprocess.Popen([*TOWLINE, "serve"], stdout=log, stderr=log)
        self._servers.append(server)
        until(lambda: bool(self.get("/repository").get("applied_commit")))

    def stop(self) -> None:
        """End the server, as a service manager does."""
        for process in self._servers:
            process.send_signal(signal.SIGTERM)
            process.wait(60)
        self._servers.clear()

    def publish(self, version: str) -> None:
        (self.folder / "hello" / "version.txt").write_text(version, encoding="utf-8")
        options = ("--version", version, "--strategy", "immediate")
        run("publish", str(self.folder / "hello"), *options)

    def get(self, path: str) -> dict[str, Any]:
        """Of the API; nothing while it cannot be had."""
        try:
            return connect(load()).get(path)
        except Problem:
            return {}

    def is_at(self, version: str, status: str) -> Callable[[], bool]:
        """Asks whether the rollout of that version is there, after the agent has looked."""

        def is_so() -> bool:
            self.agent.call("once")
            run = self.get("/deployments/hello")
            return (run.get("target_version"), run.get("status")) == (version, status)

        return is_so

    def downloads(self) -> int:
        """How many packages the device ever began to load."""
        state = journal.read(self.layout.journal)
        return state.downloads if state is not None else 0

    def heard(self) -> tuple[str, int]:
        """The device's journal, and the number of its last report that the store knows."""
        with closing(sqlite3.connect(".towline/data/towline.db")) as store:
            (row,) = store.execute("SELECT journal, report_seq FROM device_state")
        return row[0], row[1]


def until(is_so: Callable[[], bool]) -> None:
    """Wait for it, and leave the processor to those who work on it."""
    ends_at = time.monotonic() + 100
    while not is_so():
        assert time.monotonic() < ends_at, "it never came to be"
        time.sleep(0.1)


def run(*arguments: str) -> None:
    assert main.run(list(arguments)) == 0


@pytest.fixture
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fleet]:
    for name in ("SERVER", "TOKEN", "CA", "ORGANIZATION"):
        monkeypatch.delenv(f"TOWLINE_{name}", raising=False)
    run("init", str(tmp_path / "fleet"), "--organization", "acme")
    monkeypatch.chdir(tmp_path / "fleet")
    made = Fleet(tmp_path)
    try:
        made.begin()
        yield made
    finally:
        made.stop()


def test_after_a_restore_nothing_is_refused_and_what_git_wants_waits_for_a_person(
    fleet: Fleet, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    run("join", "create")
    fleet.agent.call("enroll", capsys.readouterr().out.strip(), "--id", "pi-1")
    fleet.publish("1.0.0")
    until(fleet.is_at("1.0.0", "completed"))
    run("backup", "../backup.db")
    fleet.publish("2.0.0")
    until(fleet.is_at("2.0.0", "completed"))
    fleet.stop()
    (journal_id, before), downloads = fleet.heard(), fleet.downloads()

    run("restore", "../backup.db")
    assert fleet.heard() < (journal_id, before)
    fleet.serve()
    until(fleet.is_at("2.0.0", "paused"))
    assert fleet.heard() > (journal_id, before)
    held = fleet.get("/deployments/hello")["holds"]
    assert [each["reason"] for each in held] == ["RestoredFromBackup"]
    run("approve", "hello", "--reason", "nothing was paused last night")
    until(fleet.is_at("2.0.0", "completed"))
    events = fleet.get("/events")["events"]
    assert "document.refused" not in {event["kind"] for event in events}
    assert (fleet.agent.current(), fleet.downloads()) == ("2.0.0", downloads)
