"""A fleet with a real server process, which may be killed, and a swarm of devices at it."""

import json
import os
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from towline.cli.client import Client, connect
from towline.cli.settings import load
from towline.cli.swarm_check import Checked, checked
from towline.schemas.problems import Problem

TOWLINE = (sys.executable, "-m", "towline.cli")
PACKAGE = "#!/bin/sh\nexit 0\n"


class ServedFleet:
    """Everything lies in `folder`; `stop` ends every process that was begun here."""

    def __init__(self, folder: Path, poll_interval_s: int) -> None:
        self.folder = folder
        self.repository = folder / "fleet"
        self.data = self.repository / ".towline/data"
        self.ack_log = folder / "acknowledged.jsonl"
        self._environment = _environment()
        self._server: subprocess.Popen[bytes] | None = None
        self._swarm: subprocess.Popen[bytes] | None = None
        self.towline("init", str(self.repository), "--organization", "demo", within=folder)
        self._write_settings(poll_interval_s)
        app = folder / "app"
        app.mkdir()
        (app / "install.sh").write_text(PACKAGE)
        (app / "install.sh").chmod(0o755)

    def serve(self) -> None:
        """Start the server, and wait until it answers."""
        self.begin()
        self.until(self._is_serving, 60, "the server to answer")

    def begin(self) -> None:
        """Start the server."""
        self._server = self._spawn("server.log", (*TOWLINE, "serve"), self.repository)

    def kill(self) -> None:
        """End the server as a power cut would."""
        assert self._server is not None
        self._server.kill()
        self._server.wait()

    def publish(self, version: str, strategy: str) -> None:
        """Commit a new version, to be rolled out so."""
        folder = str(self.folder / "app")
        self.towline("publish", folder, "--version", version, "--strategy", strategy)

    def swarm(self, devices: int, *options: str) -> None:
        """Start so many devices."""
        command = (*TOWLINE, "swarm", "--devices", str(devices), "--json", *options)
        self._swarm = self._spawn("swarm.log", command, self.repository)

    def end_swarm(self) -> dict[str, Any]:
        """End the devices; what they counted."""
        assert self._swarm is not None
        self._swarm.terminate()
        self._swarm.wait(60)
        text = (self.folder / "swarm.log").read_text()
        found = json.loads(text[text.index("\n{\n") if "\n{\n" in text else text.index("{") :])
        assert isinstance(found, dict)
        return found

    def stop(self) -> None:
        """End all processes."""
        for process in (self._swarm, self._server):
            if process is not None and process.poll() is None:
                process.terminate()
                with suppress(subprocess.TimeoutExpired):
                    process.wait(15)
                process.kill()

    @property
    def client(self) -> Client:
        """The server's API."""
        return connect(load(self.repository, environment={}))

    @property
    def server_processor_s(self) -> float:
        """What the server's process has taken since its start."""
        assert self._server is not None
        fields = Path(f"/proc/{self._server.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def server_memory_mib(self) -> float:
        """What the server's process has in memory."""
        assert self._server is not None
        pages = int(Path(f"/proc/{self._server.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20

    def devices(self) -> int:
        """How many are enrolled and have reported."""
        store = sqlite3.connect(f"{(self.data / 'towline.db').as_uri()}?mode=ro", uri=True)
        try:
            asked = store.execute("SELECT count(*) FROM device_state WHERE report_seq > 0")
            return int(asked.fetchone()[0])
        finally:
            store.close()

    def run(self, version: str) -> Mapping[str, Any]:
        """The newest run, once it is of that version; an empty one until then."""
        with suppress(Problem):
            found = self.client.get("/deployments/app", devices="failing")
            if found["target_version"] == version:
                return found
        return {}

    def acknowledged(self) -> Checked:
        """The log of acknowledged reports against the store's file."""
        return checked(self.ack_log, self.data / "towline.db")

    def until(self, is_so: Callable[[], bool], timeout_s: float, what: str) -> None:
        """Wait; raises when it takes too long or a process has ended."""
        ends_at = time.monotonic() + timeout_s
        while not is_so():
            for process in (self._server, self._swarm):
                assert process is None or process.poll() is None, self._logs()
            assert time.monotonic() < ends_at, f"waited in vain for {what}: {self._logs()}"
            time.sleep(0.5)

    def towline(self, *arguments: str, within: Path | None = None) -> str:
        """Run a command of Towline; what it printed."""
        done = self.tried(*arguments, within=within)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def tried(
        self, *arguments: str, within: Path | None = None, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """As `towline`, of a command that may fail, with these variables beside the others."""
        return subprocess.run(
            (*TOWLINE, *arguments),
            cwd=within or self.repository,
            env=self._environment | environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def _write_settings(self, poll_interval_s: int) -> None:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        with (self.repository / "towline.toml").open("a") as file:
            file.write(f'\nlisten = "127.0.0.1:{port}"\npoll_interval = {poll_interval_s}\n')
            file.write("git_interval = 1\n")
        commit = ("git", "commit", "--quiet", "--all", "--message", "Set it up")
        subprocess.run(commit, cwd=self.repository, env=self._environment, check=True)

    def _is_serving(self) -> bool:
        try:
            return bool(self.client.get("/repository")["applied_commit"])
        except Problem:
            return False

    def _spawn(self, log: str, command: tuple[str, ...], within: Path) -> subprocess.Popen[bytes]:
        with (self.folder / log).open("ab") as file:
            return subprocess.Popen(
                command,
                cwd=within,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
            )

    def _logs(self) -> str:
        files = [self.folder / "server.log", self.folder / "swarm.log"]
        return "\n".join(file.read_text()[-2000:] for file in files if file.exists())


def _environment() -> dict[str, str]:
    """Nothing of the caller's Towline or git settings counts; this Towline is the one that runs."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("TOWLINE_", "GIT_"))}
    who = {
        f"GIT_{role}_{what}": value
        for role in ("AUTHOR", "COMMITTER")
        for what, value in (("NAME", "Ada"), ("EMAIL", "ada@towline.example"))
    }
    here = {"PYTHONPATH": str(Path(__file__).parents[2])}
    return kept | who | here | {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
