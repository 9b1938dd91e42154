"""Packages for the agent's tests, and a device with a real agent process."""

import dataclasses
import hashlib
import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.agent.archives import member, write_archive
from tests.agent.fleet_server import FleetServer, sign_statement
from towline.agent import identity
from towline.agent.layout import Layout
from towline.agent.unpack import measure
from towline.schemas.desired_state import ComponentAction, ComponentWanted

INSTALL = """#!/bin/sh
set -e
echo "installing $TOWLINE_COMPONENT $TOWLINE_VERSION after ${TOWLINE_PREVIOUS_VERSION:-nothing}"
printf '%s' "$TOWLINE_VERSION" > "$TOWLINE_ROOT/installed"
"""


def publish(
    server: FleetServer,
    folder: Path,
    version: str,
    files: Mapping[str, str] | None = None,
    signed: Mapping[str, Any] | None = None,
    **changes: Any,
) -> ComponentWanted:
    """Build and sign a package, serve it, and return it as a device is to have it.

    `signed` overwrites what the statement says, `changes` what the document says.
    """
    contents = {"install.sh": INSTALL, "version.txt": version} | dict(files or {})
    members = [
        member(name, text.encode(), mode=0o755 if name.endswith(".sh") else 0o644)
        for name, text in contents.items()
    ]
    component = changes.pop("name", "hello")
    file_name = f"{component}-{version}.tar.gz"
    archive = write_archive(folder / file_name, *members)
    measured = measure(archive)
    server.packages[file_name] = archive.read_bytes()
    statement = sign_statement(
        server.keys,
        component=component,
        version=version,
        file_name=file_name,
        sha256=measured.sha256,
        size=measured.size,
        unpacked_size=measured.unpacked_size,
        content_sha256=measured.content_sha256,
        **{"files": measured.files} | dict(signed or {}),
    )
    values: dict[str, Any] = {
        "name": component,
        "action": ComponentAction.INSTALL,
        "version": version,
        "sha256": measured.sha256,
        "size": measured.size,
        "urls": (f"{server.address}/packages/{file_name}",),
        "deployment": str(uuid.uuid5(uuid.NAMESPACE_URL, f"{component}-{version}")),
        "revision": hashlib.sha256(version.encode()).hexdigest(),
        "attempt": 1,
        "commit": hashlib.sha1(version.encode(), usedforsecurity=False).hexdigest(),
        "statement": statement,
        "install_timeout_s": 20,
    }
    return ComponentWanted(**values | changes)


def again(wanted: ComponentWanted, **changes: Any) -> ComponentWanted:
    """The same package in another run."""
    return dataclasses.replace(wanted, **{"deployment": str(uuid.uuid4())} | changes)


class AgentProcess:
    """`towline-agent` in a folder of its own."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "towline.agent.main", *arguments, "--root", str(self.root)]

    def call(self, *arguments: str, status: int = 0) -> subprocess.CompletedProcess[str]:
        """Run a command to its end and expect an exit status."""
        done = subprocess.run(
            self.command(*arguments), capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == status, done.stderr
        assert "Traceback" not in done.stderr
        return done

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a command and leave it running."""
        return subprocess.Popen(
            self.command(*arguments),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env=dict(os.environ),
        )

    def enrol(self, server: FleetServer, device: str = "pi-1") -> None:
        """As `enroll` does, without a process for it."""
        identity.enrol(Layout(self.root), server.join(), device, None)

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.call("status", "-o", "json").stdout)
        return found

    def installed(self) -> str | None:
        """What install.sh wrote last."""
        path = self.root / "installed"
        return path.read_text() if path.exists() else None

    def current(self, component: str = "hello") -> str | None:
        """The version that `current` leads to."""
        path = self.root / "components" / component / "current" / "version.txt"
        return path.read_text() if path.exists() else None


def until(is_so: Callable[[], bool], seconds: float = 20) -> None:
    """Poll until it is so; fails when it never is."""
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, "it never came to be"
        time.sleep(0.02)
