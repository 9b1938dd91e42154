"""`towline init`: what lies in a new fleet repository, and what is left untouched."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.conftest import everything, git
from towline.cli import main, settings
from towline.cli.init import to_id
from towline.cli.manifest_files import read_manifests
from towline.manifests.load import load
from towline.schemas import root
from towline.schemas.keys import PrivateKey

TOWLINE = Path(sys.executable).with_name("towline")


def test_a_new_repository_is_committed_whole_and_clean(fleet: Path) -> None:
    assert git(fleet, "status", "--porcelain") == ""
    assert git(fleet, "ls-files").splitlines() == [
        ".gitattributes",
        ".gitignore",
        "README.md",
        "deployments/example.yaml.txt",
        "releases/.gitkeep",
        "towline.toml",
        "trust/root/1.json",
    ]
    assert git(fleet, "branch", "--show-current") == "main"
    assert (fleet / "packages").is_dir()


def test_the_root_is_signed_marked_for_development_and_names_the_keys(fleet: Path) -> None:
    made = root.follow([(fleet / "trust/root/1.json").read_bytes()], "acme")
    keys = fleet / ".towline/keys"
    assert made.is_development
    assert made.root.threshold == 1
    assert 539 * 86400 < made.expires - time.time() <= 540 * 86400
    for role, name in ((made.root, "root"), (made.release, "release"), (made.online, "online")):
        assert role.keys == (PrivateKey.load(keys / f"{name}.pem").public,)
    assert len({key.raw for key in (*made.root.keys, *made.release.keys, *made.online.keys)}) == 3


def test_only_the_owner_reads_the_keys_and_git_ignores_them(fleet: Path) -> None:
    for file in (fleet / ".towline/keys").iterdir():
        assert file.stat().st_mode & 0o777 == 0o600
    assert (fleet / ".towline/keys").stat().st_mode & 0o777 == 0o700
    assert git(fleet, "check-ignore", ".towline/keys/root.pem", "packages/x.tar.gz")


def test_the_settings_hold_without_a_flag(fleet: Path) -> None:
    found = settings.load_fleet(fleet)
    assert (found.organization, found.branch, found.fleet) == ("acme", "main", fleet)
    assert found.online_key.is_file()
    assert found.release_key.is_file()


def test_nothing_in_it_is_a_manifest_yet_and_the_example_is_a_good_one(fleet: Path) -> None:
    assert read_manifests(fleet) == {}
    example = (fleet / "deployments/example.yaml.txt").read_text(encoding="utf-8")
    assert all(line.startswith("#") for line in example.splitlines())
    text = example[example.index("# apiVersion") :].replace("0c1d…", "0" * 64)
    plain = "".join(line.removeprefix("# ") for line in text.splitlines(keepends=True))
    loaded = load({"hello.yaml": plain.encode()})
    assert loaded.errors == ()
    assert loaded.deployments.keys() == {"hello"}


def test_a_push_to_it_updates_its_files(fleet: Path, tmp_path: Path) -> None:
    git(tmp_path, "clone", "-q", str(fleet), "clone")
    clone = tmp_path / "clone"
    (clone / "README.md").write_text("changed\n", encoding="utf-8")
    git(clone, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qam", "Change it")
    git(clone, "push", "-q")
    assert (fleet / "README.md").read_text(encoding="utf-8") == "changed\n"


def test_it_works_without_an_identity_and_warns_of_the_keys(tmp_path: Path) -> None:
    done = subprocess.run(
        [TOWLINE, "init", "My Fleet"],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "GIT_CONFIG_NOSYSTEM": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert "DEVELOPMENT KEYS" in done.stderr
    assert "cd 'My Fleet'" in done.stderr
    folder = tmp_path / "My Fleet"
    assert git(folder, "log", "--format=%an <%ae>") == "Towline <towline@localhost>"
    assert settings.load_fleet(folder).organization == "my-fleet"


def test_a_fleet_repository_is_refused_and_left_untouched(
    fleet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before, head = everything(fleet), git(fleet, "rev-parse", "HEAD")
    assert main.run(["init", str(fleet)]) == 1
    assert "already is a fleet repository" in capsys.readouterr().err
    assert everything(fleet) == before
    assert git(fleet, "rev-parse", "HEAD") == head


def test_a_repository_with_files_keeps_them_and_what_is_staged(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", "-b", "trunk")
    (tmp_path / "README.md").write_text("mine\n", encoding="utf-8")
    (tmp_path / ".gitignore").write_text("*.pyc", encoding="utf-8")
    (tmp_path / "staged").write_text("not yet\n", encoding="utf-8")
    git(tmp_path, "add", "staged")
    assert main.run(["init", str(tmp_path), "--organization", "acme"]) == 0
    assert (tmp_path / "README.md").read_text(encoding="utf-8") == "mine\n"
    assert (tmp_path / ".gitignore").read_text(encoding="utf-8").startswith("*.pyc\n# Keys")
    assert git(tmp_path, "status", "--porcelain").splitlines() == ["A  staged", "?? README.md"]
    assert settings.load_fleet(tmp_path).branch == "trunk"


def test_a_commit_that_git_refuses_leaves_the_folder_as_it_was(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    git(tmp_path, "init", "-q", "-b", "main")
    hook = tmp_path / ".git/hooks/pre-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho not today >&2\nexit 1\n", encoding="utf-8")
    hook.chmod(0o755)
    assert main.run(["init", str(tmp_path), "--organization", "acme"]) == 1
    assert "git commit failed" in (said := capsys.readouterr().err)
    assert "not today" in said
    assert everything(tmp_path) == {}
    assert git(tmp_path, "status", "--porcelain") == ""


@pytest.mark.parametrize("name", ["Acme", "a b", "-a", "é"])
def test_an_organization_that_is_no_id_is_refused(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run(["init", str(tmp_path / "f"), f"--organization={name}"]) == 1
    assert "is no id" in capsys.readouterr().err
    assert not (tmp_path / "f").exists()


@pytest.mark.parametrize(
    ("name", "made"),
    [("fleet", "fleet"), ("My Fleet", "my-fleet"), ("--é--", ""), ("a" * 80, "a" * 63)],
)
def test_an_id_is_made_of_a_name(name: str, made: str) -> None:
    assert to_id(name) == made
