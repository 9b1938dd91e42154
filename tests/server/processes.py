"""Several real server processes on one real Postgres, each with its role and data folder."""

import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psycopg

from towline.reconciler.store import postgres

TOWLINE = (sys.executable, "-m", "towline.cli")
WRITERS, LEADER = postgres.WRITERS, postgres.LEADER
_DIRECT = """apiVersion: towline/v1
kind: Policy
metadata: {name: fleet}
spec: {apiCommits: direct}
"""
START_S = 120.0
"""Of which an idle machine needs a small part."""


@dataclass
class Process:
    """One `towline serve`."""

    name: str
    port: int
    data: Path
    log: Path
    running: "subprocess.Popen[bytes]"

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"https://127.0.0.1:{self.port}"

    def client(self) -> httpx.Client:
        """A client that trusts its certificate."""
        context = ssl.create_default_context(cafile=str(self.data / "tls.crt"))
        return httpx.Client(base_url=self.url, verify=context, timeout=60)

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.running.send_signal(number)


@dataclass
class Processes:
    """Everything lies in `folder`; `stop` ends all that was begun."""

    folder: Path
    database: str
    all: list[Process] = field(default_factory=list)
    swarm: "subprocess.Popen[bytes] | None" = None
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def repository(self) -> Path:
        """The working copy that all of them follow."""
        return self.folder / "fleet"

    def prepare(self, poll_interval_s: int) -> None:
        """A fleet repository with a package to publish."""
        self.environment = _environment(self.database)
        self.towline("init", str(self.repository), "--organization", "acme", within=self.folder)
        with (self.repository / "towline.toml").open("a") as file:
            file.write(f"\npoll_interval = {poll_interval_s}\n")
        (self.repository / "policy.yaml").write_text(_DIRECT)
        for command in (("add", "."), ("commit", "--quiet", "--message", "Set it up")):
            subprocess.run(("git", *command), cwd=self.repository, env=self.environment, check=True)
        app = self.folder / "app"
        app.mkdir()
        (app / "install.sh").write_text("#!/bin/sh\nexit 0\n")
        (app / "install.sh").chmod(0o755)

    def serve(self, name: str, role: str) -> Process:
        """Begin one; `wait` waits until it answers."""
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        data, log = self.folder / name, self.folder / f"{name}.log"
        where = ("--data", str(data), "--listen", f"127.0.0.1:{port}")
        with log.open("ab") as file:
            running = subprocess.Popen(
                (*TOWLINE, "serve", "--role", role, *where),
                cwd=self.repository,
                env=self.environment,
                stdout=file,
                stderr=file,
            )
        process = Process(name, port, data, log, running)
        self.all.append(process)
        return process

    def wait(self) -> None:
        """Until all answer."""
        for process in self.all:
            self.until(lambda process=process: _answers(process), START_S)  # type: ignore[misc]

    def until(self, is_so: Callable[[], bool], seconds: float) -> float:
        """Wait; returns how long it took."""
        began = time.monotonic()
        while not is_so():
            assert time.monotonic() < began + seconds, self.logs()
            time.sleep(0.05)
        return time.monotonic() - began

    def logs(self) -> str:
        """The end of each process's log."""
        return "\n".join(f"{each.name}: {each.log.read_text()[-3000:]}" for each in self.all)

    def sql(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Ask or change the database behind everybody's back."""
        with psycopg.connect(self.database, autocommit=True) as connection:
            done = connection.execute(statement.encode(), values)
            return done.fetchall() if done.description else []

    def leader(self) -> Process | None:
        """Who holds the seat."""
        rows = self.sql(
            "SELECT a.application_name FROM pg_locks l JOIN pg_stat_activity a USING (pid)"
            " WHERE l.locktype = 'advisory' AND l.granted AND l.objid = %s AND l.database ="
            " (SELECT oid FROM pg_database WHERE datname = current_database())",
            LEADER,
        )
        pids = {row[0].split()[2] for row in rows}
        return next((each for each in self.all if str(each.running.pid) in pids), None)

    def epoch(self) -> int:
        """Of the newest term."""
        return int(self.sql("SELECT epoch FROM leader_epoch")[0][0])

    def publish(self, version: str, strategy: str) -> None:
        """Commit a new version."""
        app = str(self.folder / "app")
        self.towline("publish", app, "--version", version, "--strategy", strategy)

    def begin_swarm(self, at: Process, devices: int) -> None:
        """So many devices that install what they are given."""
        own = {"TOWLINE_CA": str(at.data / "tls.crt"), "TOWLINE_TOKEN": self.token()}
        quick = ("--download", "1s", "--install", "1s", "--verify", "1s")
        with (self.folder / "swarm.log").open("ab") as file:
            self.swarm = subprocess.Popen(
                (*TOWLINE, "swarm", "--devices", str(devices), "--server", at.url, *quick),
                cwd=self.repository,
                env=self.environment | own,
                stdout=file,
                stderr=file,
            )

    def token(self) -> str:
        """The first admin token."""
        return next(
            (each.data / "admin.token").read_text().strip()
            for each in self.all
            if (each.data / "admin.token").is_file()
        )

    def api(self, at: Process, path: str, **asked: Any) -> Mapping[str, Any]:
        """What the admin API says."""
        with at.client() as client:
            headers = {"Authorization": f"Bearer {self.token()}"}
            found: Mapping[str, Any] = client.get(
                f"/api/v1/admin/ota{path}", params=asked, headers=headers
            ).json()
            return found

    def towline(self, *arguments: str, within: Path | None = None) -> str:
        """Run a command; what it printed."""
        done = subprocess.run(
            (*TOWLINE, *arguments),
            cwd=within or self.repository,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def stop(self) -> None:
        """End everything, also what was stopped."""
        running = [each.running for each in self.all]
        for process in [*running, *([self.swarm] if self.swarm else [])]:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.terminate()
        for process in [*running, *([self.swarm] if self.swarm else [])]:
            with suppress(subprocess.TimeoutExpired):
                process.wait(15)
            process.kill()
            process.wait()


def _answers(process: Process) -> bool:
    assert process.running.poll() is None, process.log.read_text()
    with suppress(httpx.HTTPError, OSError), process.client() as client:
        return client.get("/healthz").status_code == 200
    return False


def _environment(database: str) -> dict[str, str]:
    """Nothing of the caller's Towline or git settings counts; this Towline is the one that runs."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("TOWLINE_", "GIT_"))}
    who = {
        f"GIT_{role}_{what}": value
        for role in ("AUTHOR", "COMMITTER")
        for what, value in (("NAME", "Ada"), ("EMAIL", "ada@towline.example"))
    }
    here = {"PYTHONPATH": str(Path(__file__).parents[2]), "TOWLINE_STORE": database}
    return kept | who | here | {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
