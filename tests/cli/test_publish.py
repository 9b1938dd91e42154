"""`towline publish`: one commit with everything in it, or a repository as it was."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.cli.conftest import everything, git
from towline.agent.unpack import measure
from towline.cli import main
from towline.cli.manifest_files import read_manifests
from towline.manifests.load import load
from towline.manifests.model import Ownership

TOWLINE = Path(sys.executable).with_name("towline")


def publish(folder: Path, fleet: Path, version: str, *more: str) -> int:
    return main.run(["publish", str(folder), "--version", version, "--repo", str(fleet), *more])


def manifest(fleet: Path) -> dict[str, object]:
    text = (fleet / "deployments/hello.yaml").read_text(encoding="utf-8")
    return dict(yaml.safe_load(text)["spec"])


def test_a_folder_becomes_a_signed_release_in_one_commit(hello: Path, fleet: Path) -> None:
    done = subprocess.run(
        [TOWLINE, "publish", "../hello", "--version", "1.0.0"],
        cwd=fleet,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    package = fleet / "packages/hello-1.0.0.tar.gz"
    assert manifest(fleet) == {
        "component": "hello",
        "targetVersion": "1.0.0",
        "strategy": "canary",
        "package": {
            "url": "hello-1.0.0.tar.gz",
            "checksum": f"sha256:{measure(package).sha256}",
        },
    }
    assert git(fleet, "show", "--name-only", "--format=%s").split("\n") == [
        "Publish hello 1.0.0",
        "",
        "deployments/hello.yaml",
        "releases/hello/1.0.0/hello-1.0.0.tar.gz.json",
    ]
    assert git(fleet, "status", "--porcelain") == ""
    assert list((fleet / "packages").iterdir()) == [package]
    assert package.stat().st_mode & 0o777 == 0o644
    assert "towline watch hello" in done.stderr
    assert main.run(["release", "verify", str(package), "--repo", str(fleet)]) == 0


def test_the_next_version_keeps_the_comments_of_the_manifest(hello: Path, fleet: Path) -> None:
    publish(hello, fleet, "1.0.0", "--strategy", "immediate")
    file = fleet / "deployments/hello.yaml"
    file.write_text("# ours\n" + file.read_text("utf-8") + "  onFailure: abort  # why\n", "utf-8")
    (hello / "share/greeting").write_text("hello again\n", encoding="utf-8")
    assert publish(hello, fleet, "1.1.0") == 0
    text = file.read_text(encoding="utf-8")
    assert text.startswith("# ours\n")
    assert text.endswith("  onFailure: abort  # why\n")
    assert manifest(fleet)["targetVersion"] == "1.1.0"
    assert manifest(fleet)["strategy"] == "immediate"


def test_the_component_may_be_named_otherwise_than_the_folder(hello: Path, fleet: Path) -> None:
    assert publish(hello, fleet, "1.0.0", "--component", "greeter") == 0
    assert (fleet / "packages/greeter-1.0.0.tar.gz").is_file()
    assert (fleet / "deployments/greeter.yaml").is_file()


def test_the_manifest_loads_and_delivers_what_was_signed(hello: Path, fleet: Path) -> None:
    publish(hello, fleet, "1.0.0")
    loaded = load(read_manifests(fleet))
    assert loaded.errors == ()
    deployment = loaded.deployments["hello"]
    [package] = deployment.packages
    assert (deployment.component, deployment.target_version) == ("hello", "1.0.0")
    assert package.file_name == "hello-1.0.0.tar.gz"
    assert package.sha256 == measure(fleet / "packages/hello-1.0.0.tar.gz").sha256
    assert deployment.ownership == Ownership()


@pytest.mark.parametrize("strategy", ["immediate", "canary", "rolling"])
def test_every_strategy_of_one_word_makes_a_manifest_that_loads(
    strategy: str, hello: Path, fleet: Path
) -> None:
    assert publish(hello, fleet, "1.0.0", "--strategy", strategy) == 0
    assert load(read_manifests(fleet)).deployments["hello"].strategy == strategy


def test_manual_needs_a_manifest_that_names_devices(
    hello: Path, fleet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert publish(hello, fleet, "1.0.0", "--strategy", "manual") == 1
    assert "filters: {devices: [ID]}" in capsys.readouterr().err
    assert publish(hello, fleet, "1.0.0", "--no-commit") == 0
    with (fleet / "deployments/hello.yaml").open("a", encoding="utf-8") as file:
        file.write("  filters: {devices: [pi-1]}\n")
    assert publish(hello, fleet, "1.0.0", "--strategy", "manual") == 0
    assert load(read_manifests(fleet)).deployments["hello"].strategy == "manual"


def test_a_broken_file_of_others_does_not_stop_it_but_one_that_holds_all_is_told(
    hello: Path, fleet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (fleet / "other.yaml").write_text("apiVersion: towline/v1\nkind: Deployment\n", "utf-8")
    (fleet / "group.yaml").write_text("apiVersion: towline/v1\nkind: DeviceGroup\n", "utf-8")
    assert publish(hello, fleet, "1.0.0") == 0
    said = capsys.readouterr().err
    assert "warning: nothing will be rolled out before this is mended: group.yaml" in said
    assert "other.yaml" not in said


def test_publishing_the_same_again_commits_nothing(
    hello: Path, fleet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    publish(hello, fleet, "1.0.0")
    before, head = everything(fleet), git(fleet, "rev-parse", "HEAD")
    assert publish(hello, fleet, "1.0.0") == 0
    assert "nothing to commit" in capsys.readouterr().err
    assert (everything(fleet), git(fleet, "rev-parse", "HEAD")) == (before, head)


def test_an_older_version_is_published_again_as_it_was(hello: Path, fleet: Path) -> None:
    publish(hello, fleet, "1.0.0")
    first = manifest(fleet)
    (hello / "share/greeting").write_text("changed\n", encoding="utf-8")
    publish(hello, fleet, "1.1.0")
    (hello / "share/greeting").write_text("hello\n", encoding="utf-8")
    assert publish(hello, fleet, "1.0.0") == 0
    assert manifest(fleet) == first
    assert git(fleet, "show", "--name-only", "--format=").split() == ["deployments/hello.yaml"]


def test_without_a_commit_the_files_lie_there_and_a_later_publish_commits_them(
    hello: Path, fleet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    head = git(fleet, "rev-parse", "HEAD")
    assert publish(hello, fleet, "1.0.0", "--no-commit") == 0
    assert git(fleet, "rev-parse", "HEAD") == head
    assert "git add" in capsys.readouterr().err
    assert git(fleet, "status", "--porcelain").splitlines() == [
        "?? deployments/hello.yaml",
        "?? releases/hello/",
    ]
    assert publish(hello, fleet, "1.0.0") == 0
    assert git(fleet, "status", "--porcelain") == ""


def test_what_is_staged_or_changed_elsewhere_stays_out_of_the_commit(
    hello: Path, fleet: Path
) -> None:
    (fleet / "staged").touch()
    git(fleet, "add", "staged")
    (fleet / "README.md").write_text("changed\n", encoding="utf-8")
    assert publish(hello, fleet, "1.0.0") == 0
    assert git(fleet, "status", "--porcelain").splitlines() == ["M README.md", "A  staged"]


def test_on_another_branch_the_merge_is_what_comes_next(
    hello: Path, fleet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    git(fleet, "switch", "-qc", "new-hello")
    assert publish(hello, fleet, "1.0.0") == 0
    assert "merge new-hello into main" in capsys.readouterr().err


def test_a_fleet_in_a_folder_of_a_repository_is_published_to(
    hello: Path, fleet: Path, tmp_path: Path
) -> None:
    inner = tmp_path / "all" / "shops"
    inner.parent.mkdir()
    git(inner.parent, "init", "-q", "-b", "main")
    assert main.run(["init", str(inner), "--organization", "acme"]) == 0
    (inner / ".git").rename(tmp_path / "gone")
    git(inner.parent, "add", ".")
    identity = ("-c", "user.name=a", "-c", "user.email=a@b")
    git(inner.parent, *identity, "commit", "-qm", "One repository for all")
    assert publish(hello, inner, "1.0.0") == 0
    assert "shops/deployments/hello.yaml" in git(inner.parent, "show", "--name-only", "--format=")


def _refusing_hook(fleet: Path, _: Path) -> None:
    hook = fleet / ".git/hooks/pre-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho not today >&2\nexit 1\n", encoding="utf-8")
    hook.chmod(0o755)


def _no_key(fleet: Path, _: Path) -> None:
    (fleet / ".towline/keys/release.pem").unlink()


def _no_script(_: Path, folder: Path) -> None:
    (folder / "install.sh").unlink()


def _link(_: Path, folder: Path) -> None:
    (folder / "link").symlink_to("x")


def _broken_manifest(fleet: Path, _: Path) -> None:
    (fleet / "deployments/hello.yaml").write_text("a: [", encoding="utf-8")


def _other_manifest(fleet: Path, _: Path) -> None:
    file = fleet / "deployments/hello.yaml"
    text = file.read_text(encoding="utf-8").replace("component: hello", "component: other")
    file.write_text(text, encoding="utf-8")


def _unknown_key(fleet: Path, _: Path) -> None:
    with (fleet / "deployments/hello.yaml").open("a", encoding="utf-8") as file:
        file.write("  onFailur: abort\n")


def _twin(fleet: Path, _: Path) -> None:
    file = fleet / "deployments/hello.yaml"
    (fleet / "elsewhere.yml").write_bytes(file.read_bytes())


def _package_in_the_way(fleet: Path, _: Path) -> None:
    (fleet / "packages/hello-1.1.0.tar.gz").write_bytes(b"other")


def _detached(fleet: Path, _: Path) -> None:
    git(fleet, "switch", "-q", "--detach")


def _ignored_statements(fleet: Path, _: Path) -> None:
    (fleet / ".git/info/exclude").write_text("releases/\n", encoding="utf-8")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (_refusing_hook, "not today"),
        (_no_key, "release.pem cannot be read"),
        (_no_script, "it has no install.sh"),
        (_link, "symbolic link"),
        (_broken_manifest, "it is not YAML"),
        (_other_manifest, "delivers the component other"),
        (_unknown_key, "→ write `onFailure`"),
        (_twin, "another Deployment has the name hello: elsewhere.yml"),
        (_package_in_the_way, "is there with another content"),
        (_detached, "has no branch checked out"),
        (_ignored_statements, "git add failed"),
    ],
)
def test_a_failure_at_any_step_leaves_the_repository_as_it_was(
    spoil: object, words: str, hello: Path, fleet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    publish(hello, fleet, "1.0.0")
    (hello / "share/greeting").write_text("changed\n", encoding="utf-8")
    assert callable(spoil)
    spoil(fleet, hello)
    before = (everything(fleet), git(fleet, "status", "--porcelain"), git(fleet, "log"))
    capsys.readouterr()
    assert publish(hello, fleet, "1.1.0") == 1
    said = capsys.readouterr().err
    assert words in said
    assert "this is a bug" not in said
    assert before == (everything(fleet), git(fleet, "status", "--porcelain"), git(fleet, "log"))
    assert not (fleet / "releases/hello/1.1.0").exists()


def test_a_version_is_never_used_for_other_bytes(
    hello: Path, fleet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    publish(hello, fleet, "1.0.0")
    (hello / "share/greeting").write_text("changed\n", encoding="utf-8")
    before = everything(fleet)
    assert publish(hello, fleet, "1.0.0") == 1
    assert "give it a version after 1.0.0" in capsys.readouterr().err
    assert everything(fleet) == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("1/0",), "'1/0' is no version"),
        (("1.0", "--component", "Hello"), "component 'Hello' is no id"),
        (("1.0", "--strategy", "batches"), "does not fit in one word"),
        (("1.0", "--strategy", "yolo"), "one of: manual, immediate, canary, rolling"),
    ],
)
def test_wrong_words_are_refused_before_anything_is_built(
    arguments: tuple[str, ...],
    words: str,
    hello: Path,
    fleet: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = everything(fleet)
    assert publish(hello, fleet, *arguments) == 1
    assert words in capsys.readouterr().err
    assert everything(fleet) == before


def test_a_folder_whose_name_is_no_id_is_told_a_component(
    fleet: Path, hello: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = hello.rename(hello.with_name("My App"))
    assert publish(folder, fleet, "1.0.0") == 1
    assert "--component my-app" in capsys.readouterr().err
