"""docs/trust.md as a reader follows it: its own lines, a real server, a real agent with its root.

Blocks `sh` are run in order, in one shell; `sh server` and `sh device` in a terminal of their own.
"""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from towline.schemas import root as roots
from towline.schemas.keys import PrivateKey

PROJECT = Path(__file__).parents[2]
PAGE = (PROJECT / "docs" / "trust.md").read_text(encoding="utf-8")
SECTION = PAGE.split("\n## A ceremony to follow\n")[1].split("\n## ")[0]
BLOCKS = re.findall(r"```sh ?(\w*)\n(.*?)```", SECTION, re.DOTALL)
PASSPHRASE = "five words taken at random"
COMMANDS = {"towline": "towline.cli", "towline-agent": "towline.agent.main"}


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@dataclass
class Terminals:
    """Shells in the reader's folder."""

    folder: Path
    environment: dict[str, str]
    open: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def begin(self, name: str, script: str) -> None:
        """In a terminal of its own, until `close`."""
        with (self.folder / f"{name}.log").open("wb") as log:
            self.open[name] = subprocess.Popen(
                ["bash", "-c", f"exec {script.strip()}"],
                cwd=self.folder / "fleet",
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(encoding="utf-8")

    def close(self, name: str) -> None:
        process = self.open.pop(name)
        process.send_signal(signal.SIGTERM)
        process.wait(20)

    def run(self, script: str, folder: Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def until(self, name: str, is_so: Callable[[], object]) -> None:
        deadline = time.monotonic() + 30
        while not is_so():
            assert time.monotonic() < deadline and self.open[name].poll() is None, self.log(name)
            time.sleep(0.02)


@pytest.fixture
def terminals(tmp_path: Path) -> Iterator[Terminals]:
    programs = tmp_path / "programs"
    programs.mkdir()
    for name, module in COMMANDS.items():
        (programs / name).write_text(f'#!/bin/sh\nexec {sys.executable} -m {module} "$@"\n')
        (programs / name).chmod(0o755)
    work = tmp_path / "work"
    work.mkdir()
    settings = {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "PYTHONPATH": str(PROJECT),
        "HOME": str(work),
        "TOWLINE_KEY_PASSPHRASE": PASSPHRASE,
        "TOWLINE_LISTEN": f"127.0.0.1:{free_port()}",
        "TOWLINE_POLL_INTERVAL": "1",
        "TOWLINE_GIT_INTERVAL": "1",
        "GIT_CONFIG_GLOBAL": str(work / "gitconfig"),
    }
    (work / "gitconfig").write_text("[user]\nname = Ada\nemail = ada@acme.example\n")
    kept = {k: v for k, v in os.environ.items() if not k.startswith("TOWLINE_")}
    opened = Terminals(work, kept | settings)
    try:
        yield opened
    finally:
        for name in list(opened.open):
            opened.close(name)


def test_the_ceremony_is_followed_literally(terminals: Terminals) -> None:
    folder, device = terminals.folder, terminals.folder / "pi-1"
    for kind, script in BLOCKS:
        if kind:
            terminals.begin(kind, script)
            if kind == "server":
                terminals.until(kind, lambda: "Towline serves acme" in terminals.log("server"))
            continue
        done = terminals.run(script, folder)
        assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"
        if "cd fleet" in script:
            folder /= "fleet"
        if "release resign" in script:
            # What runs has not changed: only a document with the new key's word brings this root.
            terminals.until("device", (device / "trust/root/3.json").exists)

    assert "throw-away" not in terminals.log("server") + terminals.log("device")
    # The device has followed root 1 to 3 by itself; 4 and 5 changed nothing that it had to ask for.
    followed = sorted(int(file.stem) for file in (device / "trust/root").glob("*.json"))
    assert followed[:3] == [1, 2, 3]
    chain = [(folder / f"trust/root/{n}.json").read_bytes() for n in range(1, 6)]
    assert [(device / f"trust/root/{n}.json").read_bytes() for n in (1, 2, 3)] == chain[:3]
    first, *_, newest = roots.walk(chain, "acme")
    assert not first.is_development
    said = terminals.run("towline-agent status --root ../pi-1 -o json", folder)
    status = json.loads(said.stdout)
    assert status["components"]["hello"]["current"] == "1.0.2"
    assert (status["refused"], status["development"]) == (None, False)

    keys = folder.parent / "acme-keys"
    online = PrivateKey.load(keys / "online.pem").public
    assert newest.online.keys == (online,)
    assert len(newest.root.keys) == 3
    assert PrivateKey.load(keys / "online-stolen.pem").public not in newest.online.keys
    refusals = [line for line in terminals.log("device").splitlines() if "refused" in line]
    assert refusals == []


def test_the_page_shows_every_kind_of_block() -> None:
    assert [kind for kind, _ in BLOCKS].count("") >= 8
    assert {"server", "device"} <= {kind for kind, _ in BLOCKS}
