"""What `towline validate` says before anyone merges."""

import json
from pathlib import Path
from typing import Any

import pytest

from towline.cli import main

MANIFEST = """\
apiVersion: towline/v1
kind: Deployment
metadata: {{name: {name}}}
spec:
  targetVersion: {version}
  package: {{url: {name}.tar.gz, checksum: "sha256:{digest}"}}
  filters: {{group: first}}
"""
GROUP = """\
apiVersion: towline/v1
kind: DeviceGroup
metadata: {name: first}
spec: {filters: {labels: {store: s1}}}
"""


@pytest.fixture
def manifests(fleet: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A group, a good Deployment `good`, and `bad` whose version is a number."""
    monkeypatch.chdir(fleet)
    (fleet / "groups.yaml").write_text(GROUP, encoding="utf-8")
    for name, version in (("good", '"1.0"'), ("bad", "1.0")):
        text = MANIFEST.format(name=name, version=version, digest="0c1d" * 16)
        (fleet / "deployments" / f"{name}.yaml").write_text(text, encoding="utf-8")
    return fleet / "deployments"


def validate(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any]]:
    code = main.run(["validate", *arguments, "-o", "json"])
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return code, document


def test_every_error_has_its_place_and_a_remedy(
    manifests: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, found = validate(capsys)
    assert code == 1
    assert (found["kind"], found["ok"], found["deployments"]) == ("Validation", False, ["good"])
    (error,) = found["errors"]
    assert (error["file"], error["line"], error["path"]) == (
        "deployments/bad.yaml",
        5,
        "spec.targetVersion",
    )
    assert error["remedy"] == 'write "1.0" in quotes'


def test_text_names_file_line_and_column(
    manifests: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run(["validate"]) == 1
    said = capsys.readouterr().out
    assert said.startswith("error: deployments/bad.yaml:5:18: spec.targetVersion: the number 1.0")
    assert said.endswith("3 files, 1 good Deployment: 1 error, 1 warning\n")


def test_a_package_without_a_statement_is_a_warning(
    manifests: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (manifests / "bad.yaml").unlink()
    code, found = validate(capsys)
    assert (code, found["ok"]) == (0, True)
    (warning,) = found["warnings"]
    assert warning["deployment"] == "good"
    assert "towline release sign" in warning["message"]


def test_a_named_file_may_use_the_groups_of_its_fleet_and_answers_for_itself_alone(
    manifests: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, found = validate(capsys, "deployments/good.yaml")
    assert (code, found["errors"], found["deployments"]) == (0, [], ["good"])


def test_a_file_outside_of_a_fleet_is_checked_alone(
    manifests: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outside = tmp_path / "bad.yaml"
    outside.write_bytes((manifests / "bad.yaml").read_bytes())
    code, found = validate(capsys, str(outside))
    assert (code, found["errors"][0]["file"]) == (1, str(outside))


def test_a_path_that_is_not_there_is_said(
    manifests: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run(["validate", "nowhere"]) == 1
    assert capsys.readouterr().err == "error: nowhere does not exist\n"
