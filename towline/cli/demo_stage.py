"""What the demo plays on: a folder with a fleet repository, a real server, real agents.

Every process leads a group of its own, so that it ends with all that it started. Ends everything
and removes the folder, unless it is to be kept.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from towline.agent.layout import Layout
from towline.agent.status import status
from towline.cli import settings
from towline.cli.client import Client, connect
from towline.cli.init import make_fleet
from towline.cli.settings import FILE_NAME, Settings
from towline.cli.working_copy import WorkingCopy
from towline.schemas.problems import Problem

ORGANIZATION = "demo"
DEVICES = tuple(f"till-{number}" for number in range(1, 9))
PATIENCE_S = 60.0
GRACE_S = 5.0
LOOK_S = 0.2
_SERVER = "from towline.cli.main import main; main()"
_Found = TypeVar("_Found")


def wait_for(what: str, look: Callable[[], _Found | None]) -> _Found:
    """What `look` finds in the end; raises Problem when it finds nothing for a minute."""
    ends_at = time.monotonic() + PATIENCE_S
    while True:
        found = look()
        if found is not None:
            return found
        if time.monotonic() > ends_at:
            raise Problem(f"{what} did not happen within {PATIENCE_S:.0f} s")
        time.sleep(LOOK_S)


class Stage:
    """The folder, the repository, the server and the devices."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.fleet = folder / "fleet"
        self.copy = WorkingCopy(self.fleet)
        self.settings: Settings
        self.client: Client
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    @classmethod
    def make(cls) -> "Stage":
        """In a new temporary folder."""
        return cls(Path(tempfile.mkdtemp(prefix="towline-demo-")))

    def make_repository(self) -> None:
        """A fleet repository whose server listens on a free port and looks often."""
        make_fleet(self.fleet, ORGANIZATION, now=int(time.time()))
        for key, value in (
            ("user.name", "Demo"),
            ("user.email", "demo@localhost"),
            ("commit.gpgsign", "false"),
        ):
            self.copy.git("config", key, value)
        file = self.fleet / FILE_NAME
        lines = [f'listen = "127.0.0.1:{_free_port()}"', "poll_interval = 2", "git_interval = 1"]
        file.write_text(file.read_text(encoding="utf-8") + "\n".join([*lines, ""]))
        self.copy.commit("Look often", [file])
        self.settings = settings.load(self.fleet, environment={})

    def start_server(self) -> None:
        """`towline serve`, until it answers."""
        process = self._start("server", ["-c", _SERVER, "serve"])

        def answers() -> Client | None:
            if process.poll() is not None:
                raise Problem(f"the server ended:\n{self._log('server').read_text()[-2000:]}")
            with suppress(Problem):
                client = connect(self.settings)
                client.get("/repository")
                return client
            return None

        self.client = wait_for("the server's first answer", answers)

    def start_devices(self) -> None:
        """Enrol every device with one join string, then let their agents run."""
        join = self.client.post("/join-tokens", labels={}, max_uses=len(DEVICES))["join"]
        for device in DEVICES:
            self.machine(device).mkdir(parents=True)
            self._start_agent(f"{device}-enroll", device, "enroll", join, "--id", device)
        for device in DEVICES:
            name = f"{device}-enroll"
            if self._processes.pop(name).wait(PATIENCE_S):
                raise Problem(f"{device} did not enrol:\n{self._log(name).read_text()}")
        for device in DEVICES:
            self._start_agent(device, device, "run")

    def machine(self, device: str) -> Path:
        """What would be the whole disk of the device."""
        return self.folder / "devices" / device

    def status(self, device: str) -> dict[str, Any]:
        """What the device says of itself, from its own folder."""
        return status(self._layout(device))

    def _layout(self, device: str) -> Layout:
        return Layout(self.machine(device) / "towline")

    def _start_agent(self, name: str, device: str, command: str, *arguments: str) -> None:
        module = ["-m", "towline.agent.main", command, *arguments]
        self._start(name, [*module, "--root", str(self._layout(device).root)])

    def _start(self, name: str, arguments: list[str]) -> subprocess.Popen[bytes]:
        own = {key: value for key, value in os.environ.items() if not key.startswith("TOWLINE_")}
        self._log(name).parent.mkdir(exist_ok=True)
        with self._log(name).open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, *arguments],
                cwd=self.fleet,
                env=own,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._processes[name] = process
        return process

    def _log(self, name: str) -> Path:
        return self.folder / "logs" / f"{name}.log"

    @property
    def groups(self) -> list[int]:
        """The process groups that run."""
        return [process.pid for process in self._processes.values()]

    def end(self) -> None:
        """End every process and remove the folder."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            for group in self.groups:
                with suppress(ProcessLookupError):
                    os.killpg(group, number)
            ends_at = time.monotonic() + GRACE_S
            for process in self._processes.values():
                with suppress(subprocess.TimeoutExpired):
                    process.wait(max(0.0, ends_at - time.monotonic()))
        shutil.rmtree(self.folder, ignore_errors=True)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
