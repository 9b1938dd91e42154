"""Fleet repositories and package folders as a person has them."""

import subprocess
from pathlib import Path

import pytest

from tests.cli import production
from tests.cli.production import Production
from towline.cli import main


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SERVER", "TOKEN", "CA", "ORGANIZATION", "RELEASE_KEY", "PACKAGES"):
        monkeypatch.delenv(f"TOWLINE_{name}", raising=False)


@pytest.fixture
def fleet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """A fleet repository of the organization acme."""
    folder = tmp_path / "fleet"
    assert main.run(["init", str(folder), "--organization", "acme"]) == 0
    capsys.readouterr()
    return folder


@pytest.fixture
def hello(tmp_path: Path) -> Path:
    """A package folder."""
    folder = tmp_path / "hello"
    (folder / "share").mkdir(parents=True)
    (folder / "install.sh").write_text("#!/bin/sh\nexit 0\n", encoding="utf-8")
    (folder / "share" / "greeting").write_text("hello\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Production:
    """Made once: nobody changes it."""
    return production.make(tmp_path_factory.mktemp("template"))


@pytest.fixture
def acme(template: Production, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Production:
    """A fleet with keys for production, and hello 1.0.0 published."""
    made = template.copy(tmp_path)
    capsys.readouterr()
    return made


def git(folder: Path, *arguments: str) -> str:
    """What a git command prints."""
    done = subprocess.run(
        ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def everything(folder: Path) -> dict[str, bytes]:
    """Each file below a folder, git's own left out, with its content."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".git" not in path.relative_to(folder).parts
    }
