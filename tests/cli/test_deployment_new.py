"""`towline deployment new`: the wizard's manifest by options, by questions, or by the server."""

import hashlib
import io
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cli.conftest import everything, git
from tests.server.test_admin_create import Fleet
from tests.server.test_admin_create import fleet as served
from tests.server.test_dashboard_wizard import BASICS, TARGETS, Wizard
from tests.server.test_serve import settings
from tests.server.visiting import Guest
from towline.cli import main
from towline.cli.exit_codes import ExitCode

__all__ = ["served", "settings"]

PACKAGE = b"a package"
CHECKSUM = f"sha256:{hashlib.sha256(PACKAGE).hexdigest()}"
NEEDED = ("--name", "Till 2.1", "--version", "2.1.0", "--package", "till.tar.gz")
FILTERED = ("--label", "region=eu", "--device-type", "raspberry_pi")
TOWLINE = Path(sys.executable).with_name("towline")


@pytest.fixture(autouse=True)
def _nobody_to_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())


def new(fleet: Path, *options: str) -> int:
    return main.run(["deployment", "new", "--repo", str(fleet), *options])


def spec(text: str) -> dict[str, Any]:
    return dict(yaml.safe_load(text)["spec"])


def test_a_dry_run_prints_the_manifest_and_writes_nothing(
    fleet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (fleet / "packages").mkdir(exist_ok=True)
    (fleet / "packages" / "till.tar.gz").write_bytes(PACKAGE)
    before = everything(fleet)
    assert new(fleet, *NEEDED, *FILTERED, "--percentage", "20", "--dry-run") == ExitCode.OK
    said = capsys.readouterr()
    assert spec(said.out) == {
        "targetVersion": "2.1.0",
        "package": {"url": "till.tar.gz", "checksum": CHECKSUM},
        "filters": {"device_type": "raspberry_pi", "labels": {"region": "eu"}},
        "strategy": {"type": "canary", "percentage": 20},
        "start": "manual",
    }
    assert f"till.tar.gz: 9 bytes, {CHECKSUM}" in said.err
    assert "towline release sign till.tar.gz --component system --version 2.1.0" in said.err
    assert everything(fleet) == before


def test_it_is_one_commit_of_the_working_copy(
    fleet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert new(fleet, *NEEDED, "--checksum", CHECKSUM, "--component", "till") == ExitCode.OK
    assert git(fleet, "show", "--name-only", "--format=%s").split("\n") == [
        "Deploy Till 2.1", "", "deployments/till-2.1.yaml",
    ]  # fmt: skip
    assert main.run(["validate", str(fleet)]) == 0
    # The next one of the same devices takes its place, as the API's does.
    capsys.readouterr()
    changed = ("--name", "Till 2.2", "--version", "2.2.0", "--package", "b.tar.gz")
    more = ("--checksum", CHECKSUM, "--component", "till")
    assert new(fleet, *changed, *more, "--no-commit") == ExitCode.OK
    assert "removed" in capsys.readouterr().err
    assert [path.name for path in (fleet / "deployments").glob("*.yaml")] == ["till-2.2.yaml"]


def test_an_edit_changes_what_is_given_and_keeps_comments(
    fleet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (
        "# Ours.\napiVersion: towline/v1\nkind: Deployment\nmetadata: {name: till}\nspec:\n"
        f"  targetVersion: '1'  # text\n  package: {{url: a.tar.gz, checksum: '{CHECKSUM}'}}\n"
    )
    (fleet / "till.yaml").write_text(text, encoding="utf-8")
    options = ("--edit", "till", "--version", "2", "--label", "a=b", "--no-commit")
    assert new(fleet, *options) == ExitCode.OK
    assert (fleet / "till.yaml").read_text(encoding="utf-8") == text.replace("'1'", '"2"') + (
        "  filters: {labels: {a: b}}\n"
    )
    assert new(fleet, "--edit", "till") == ExitCode.ERROR
    assert "nothing is changed by that" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), "--name, --version, --package is missing, and nobody can be asked here"),
        ((*NEEDED,), "there is no till.tar.gz below the server's /packages/"),
        ((*NEEDED, "--checksum", "abc"), "--checksum: "),
        ((*NEEDED, "--checksum", CHECKSUM, "--percentage", "x"), "--percentage: write a whole"),
        ((*NEEDED, "--checksum", CHECKSUM, "--label", "x"), "--label: write KEY=VALUE"),
        ((*NEEDED, "--checksum", CHECKSUM, "--strategy", "manual"), "--device: strategy manual"),
        (("--edit", "none", "--version", "2"), "there is no manifest none"),
        (("--server", "--dry-run"), "--server goes with none of"),
    ],
)
def test_what_is_wrong_is_said_by_its_option(
    fleet: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], words: str
) -> None:
    before = everything(fleet)
    assert new(fleet, *options) == ExitCode.ERROR
    assert words in capsys.readouterr().err
    assert everything(fleet) == before


def test_on_a_terminal_it_asks_what_is_missing(fleet: Path) -> None:
    (fleet / "packages").mkdir(exist_ok=True)
    (fleet / "packages" / "till.tar.gz").write_bytes(PACKAGE)
    person, terminal = pty.openpty()
    answers = ("Till 2.1", "2.1.0", "immediate", "region=eu", "", "till.tar.gz")
    os.write(person, "".join(f"{each}\n" for each in answers).encode())
    command = [str(TOWLINE), "deployment", "new", "--dry-run"]
    done = subprocess.run(
        command, cwd=fleet, stdin=terminal, capture_output=True, text=True, timeout=30, check=False
    )
    os.close(person)
    os.close(terminal)
    assert done.returncode == 0, done.stderr
    assert spec(done.stdout)["filters"] == {"labels": {"region": "eu"}}
    assert spec(done.stdout)["strategy"] == "immediate"


def test_it_makes_what_the_wizard_makes_byte_for_byte(
    served: Fleet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = tmp_path / "mine"
    assert main.run(["init", str(mine), "--organization", "acme"]) == 0
    capsys.readouterr()
    wizard = Wizard(Guest(served).sign_in())
    wizard.to_review(checksum=CHECKSUM)
    downloaded = wizard.press("download").text
    assert BASICS["rollout_percentage"] == "20"
    assert TARGETS["labels"] == "region=eu"
    options = ("--component", "till", "--percentage", "20", "--notes", "Faster.\nSafer.")
    assert new(mine, *NEEDED, *FILTERED, *options, "--checksum", CHECKSUM, "--dry-run") == 0
    assert capsys.readouterr().out == downloaded


def test_the_server_puts_it_on_a_branch(
    served: Fleet,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TOWLINE_SERVER", str(served.client.base_url))
    monkeypatch.setenv("TOWLINE_CA", str(served.folder.parent / "data" / "tls.crt"))
    monkeypatch.setenv("TOWLINE_TOKEN", served.tokens["operator"])
    arguments = ["deployment", "new", "--server", *NEEDED, *FILTERED, "--checksum", CHECKSUM]
    assert main.run(arguments) == ExitCode.OK, capsys.readouterr().err
    said = capsys.readouterr()
    assert said.out.startswith(f"git -C {served.folder} diff main...towline/till-2.1-")
    assert "till-2.1 for 0 devices: deployment " in said.err
