"""Getting in by ssh: how ssh is called, with a stand-in for it, and what the real one makes of it.

No ssh server runs here: the stand-in runs the command that ssh would run on the host.
"""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.manifests.hosted import NOW, Fleet, failure, sprung, trap
from towline.manifests.git_environment import ssh_command
from towline.manifests.remote import Remote


def stand_in_for_ssh(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program `ssh` that notes how it was called and runs the command on this machine."""
    programs = folder / "programs"
    programs.mkdir()
    (programs / "ssh").write_text(
        f'#!/bin/sh\nprintf "%s\\n" "$@" > {folder}/called\n'
        'for command in "$@"; do :; done\neval "$command"\n'
    )
    (programs / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    return folder / "called"


@pytest.mark.parametrize("form", ["ssh://git@host.example:2222{}", "git@host.example:{}"])
def test_ssh_is_called_so_that_it_never_asks_and_knows_its_host(
    hosted: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    head = hosted.commit("a: 1")
    called = stand_in_for_ssh(tmp_path, monkeypatch)
    monkeypatch.setenv("GIT_SSH_COMMAND", trap(hosted))
    remote = Remote(
        form.format(hosted.folder),
        ssh_key=tmp_path / "my key",
        known_hosts=tmp_path / "known hosts",
    )
    mirror = hosted.mirror(remote)
    mirror.fetch(NOW)
    assert mirror.head() == head
    arguments = called.read_text().splitlines()
    assert arguments[: len(ssh_command(remote)) - 1] == ssh_command(remote)[1:]
    assert "git@host.example" in arguments
    assert ("2222" in arguments) == form.startswith("ssh:")
    assert not sprung(hosted)


def test_ssh_understands_its_options_as_they_are_meant(tmp_path: Path) -> None:
    if shutil.which("ssh") is None:
        pytest.skip("needs the ssh program")
    remote = Remote(
        "git@host.example:fleet", ssh_key=tmp_path / "my key", known_hosts=tmp_path / "100% known"
    )
    done = subprocess.run(
        [*ssh_command(remote), "-G", "host.example"], check=True, capture_output=True, text=True
    )
    understood = done.stdout.splitlines()
    for line in (
        "batchmode yes",
        "stricthostkeychecking true",
        "identitiesonly yes",
        "updatehostkeys false",
        "permitlocalcommand no",
        "globalknownhostsfile /dev/null",
        f"identityfile {tmp_path}/my key",
        f"userknownhostsfile {tmp_path}/100% known",
    ):
        assert line in understood
    assert not any(line.startswith(("proxycommand", "proxyjump")) for line in understood)


@pytest.mark.parametrize(
    ("said", "what", "setting"),
    [
        ("Host key verification failed.\r\nfatal: Could not read", "unknown", "known_hosts"),
        ("git@h: Permission denied (publickey).\nfatal: Could not", "not authorised", "ssh_key"),
        (
            "WARNING: UNPROTECTED PRIVATE KEY FILE!\ngit@h: Permission denied (publickey).",
            "others can read it",
            "chmod 600",
        ),
    ],
)
def test_what_ssh_refuses_is_told_with_its_setting(
    hosted: Fleet,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    said: str,
    what: str,
    setting: str,
) -> None:
    stand_in_for_ssh(tmp_path, monkeypatch)
    (tmp_path / "said").write_text(said)
    (tmp_path / "programs" / "ssh").write_text(f"#!/bin/sh\ncat {tmp_path}/said >&2\nexit 255\n")
    refused = failure(hosted.mirror(Remote("git@host.example:fleet")))
    assert what in refused.what
    assert setting in refused.remedy
