"""A repository on a git host and what mirrors it, for the tests of mirroring."""

import subprocess
from pathlib import Path

import pytest

from tests.manifests.git_server import GitHost
from towline.manifests.mirror import Mirror
from towline.manifests.remote import Remote
from towline.schemas.problems import Problem

NOW = 1_800_000_000


class Fleet:
    """A repository on a git host, and what mirrors it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "hosted" / "fleet"
        self.folder.mkdir(parents=True)
        self.mirrors = folder / "mirrors"
        self.git("init", "-q", "-b", "main")
        self.file_url = f"file://{self.folder}"

    def git(self, *arguments: str) -> str:
        who = ["-c", "user.name=Ada", "-c", "user.email=ada@acme.example"]
        command = ["git", "-C", str(self.folder), *who, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def commit(self, text: str) -> str:
        (self.folder / "a.yaml").write_text(text)
        self.git("add", "-A")
        self.git("commit", "-q", "-m", "a change")
        return self.git("rev-parse", "HEAD")

    def mirror(self, remote: Remote | None = None, branch: str = "main") -> Mirror:
        return Mirror(remote or Remote(self.file_url), self.mirrors, branch=branch)


def over_https(host: GitHost, path: str = "fleet") -> Remote:
    return Remote(f"{host.base}/{path}", ca_file=host.ca_file)


def failure(mirror: Mirror) -> Problem:
    """What a fetch that must fail says; `head` says the same."""
    with pytest.raises(Problem) as failed:
        mirror.fetch(NOW)
    with pytest.raises(Problem) as said:
        mirror.head()
    assert str(said.value) == str(failed.value)
    return failed.value


def trap(fleet: Fleet) -> str:
    """A program that leaves a trace when it is run."""
    program = fleet.folder.parent.parent / "trap"
    program.write_text(f"#!/bin/sh\ntouch {program}.sprung\nexit 1\n")
    program.chmod(0o755)
    return str(program)


def sprung(fleet: Fleet) -> bool:
    return (fleet.folder.parent.parent / "trap.sprung").exists()
