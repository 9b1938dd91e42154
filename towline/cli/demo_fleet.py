"""The demo's fleet on this machine: a repository, a server and agents, all real processes."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from towline.cli.client import Client, connect
from towline.cli.settings import load
from towline.schemas.problems import Problem

TOWLINE = (sys.executable, "-m", "towline.cli")
AGENT = (sys.executable, "-m", "towline.agent.main")
POLL_INTERVAL_S = 5
GIT_INTERVAL_S = 1
STOP_S = 10
ENROL_S = 60


class DemoFleet:
    """Everything lies in `folder`; `stop` ends every process that was begun here."""

    def __init__(self, folder: Path, devices: list[str]) -> None:
        self.folder = folder
        self.repository = folder / "fleet"
        self.devices = devices
        self._processes: list[subprocess.Popen[bytes]] = []
        self.environment = _environment()

    def begin(self) -> None:
        """Make the repository and start the server; raises Problem when it does not answer."""
        self.towline("init", str(self.repository), "--organization", "demo", within=self.folder)
        settings = self.repository / "towline.toml"
        settings.write_text(
            f"{settings.read_text()}\nlisten = '127.0.0.1:{_free_port()}'\n"
            f"poll_interval = {POLL_INTERVAL_S}\ngit_interval = {GIT_INTERVAL_S}\n"
        )
        self.commit("Poll often: this is a demo")
        self._spawn("server", *TOWLINE, "serve", within=self.repository)
        self.until(self._server_answers, 30, "the server to answer")

    def enrol(self) -> None:
        """Bring the devices in with one join string, and let their agents run."""
        join = self.towline("join", "create", "--max-uses", str(len(self.devices)))
        enrolments = {
            name: self._spawn(name, *AGENT, "enroll", join, "--root", str(self.root(name)),
                              "--id", name, within=self.folder)
            for name in self.devices
        }  # fmt: skip
        for name, process in enrolments.items():
            try:
                code = process.wait(timeout=ENROL_S)
            except subprocess.TimeoutExpired:
                raise Problem(f"{name} did not enrol within {ENROL_S} s") from None
            if code != 0:
                raise Problem(f"{name} could not enrol: {self.log(name)}")
            self._processes.remove(process)
        for name in self.devices:
            self._spawn(name, *AGENT, "run", "--root", str(self.root(name)), within=self.folder)

    def root(self, device: str) -> Path:
        """The device's own folder."""
        return self.folder / "devices" / device

    def log(self, name: str) -> str:
        """The end of what a process said."""
        file = self.folder / f"{name}.log"
        return file.read_text(errors="replace")[-2000:] if file.is_file() else ""

    @property
    def client(self) -> Client:
        """The server's API, found as any command finds it."""
        return connect(load(self.repository, environment={}))

    def towline(self, *arguments: str, within: Path | None = None) -> str:
        """Run a command of Towline as a person would; returns what it printed."""
        return self._run(*TOWLINE, *arguments, within=within or self.repository)

    def git(self, *arguments: str) -> str:
        """Run git in the fleet repository."""
        who = ("-c", "user.name=Demo", "-c", "user.email=demo@towline.example")
        return self._run("git", *who, *arguments, within=self.repository)

    def commit(self, message: str) -> None:
        """Commit everything."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", message)

    def status(self, device: str) -> Mapping[str, Any]:
        """What the device itself says, from its own folder."""
        text = self._run(*AGENT, "status", "--root", str(self.root(device)), "-o", "json",
                         within=self.folder)  # fmt: skip
        found = json.loads(text)
        assert isinstance(found, dict)
        return found

    def until(self, is_so: Callable[[], bool], timeout_s: float, what: str) -> None:
        """Wait; raises Problem when it takes too long or a process has ended."""
        ends_at = time.monotonic() + timeout_s
        while not is_so():
            ended = [process for process in self._processes if process.poll() not in (None, 0)]
            if ended:
                raise Problem(f"a process of the demo has ended: {self.log('server')}")
            if time.monotonic() > ends_at:
                raise Problem(f"waited {timeout_s:.0f} s in vain for {what}: {self.log('server')}")
            time.sleep(0.25)

    @property
    def groups(self) -> list[int]:
        """The process groups that run, as `kill` takes them."""
        return [process.pid for process in self._processes if process.poll() is None]

    def stop(self) -> None:
        """End all processes, agents first."""
        for process in reversed(self._processes):
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
        for process in self._processes:
            try:
                process.wait(timeout=STOP_S)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def remove(self) -> None:
        """Delete the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _server_answers(self) -> bool:
        try:
            return bool(self.client.get("/repository")["applied_commit"])
        except Problem:
            return False

    def _spawn(self, name: str, *command: str, within: Path) -> subprocess.Popen[bytes]:
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                command,
                cwd=within,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._processes.append(process)
        return process

    def _run(self, *command: str, within: Path) -> str:
        done = subprocess.run(
            command,
            cwd=within,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            words = done.stderr.strip() or done.stdout.strip()
            raise Problem(f"{' '.join(command[:5])} … failed: {words}")
        return done.stdout.strip()


def _environment() -> dict[str, str]:
    """Nothing of the caller's Towline or git settings reaches the demo."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("TOWLINE_", "GIT_"))}
    return kept | {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])
