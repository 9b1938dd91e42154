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


POLICY = """\
apiVersion: towline/v1
kind: Policy
metadata: {name: strict}
spec: {packageHosts: [cdn.example.com], maxShareFirstBatch: 5%, maxDevices: 10}
"""


def test_a_violation_of_a_policy_is_an_error_at_its_place(
    manifests: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (manifests / "bad.yaml").unlink()
    (manifests.parent / "policy.yaml").write_text(POLICY, encoding="utf-8")
    good = manifests / "good.yaml"
    moved = good.read_text("utf-8").replace("good.tar.gz", "https://evil.example/good.tar.gz")
    good.write_text(f"{moved}  strategy: {{type: canary, percentage: 9}}\n", encoding="utf-8")
    code, found = validate(capsys)
    assert (code, found["ok"]) == (1, False)
    assert [(e["file"], e["line"], e["column"], e["path"]) for e in found["errors"]] == [
        ("deployments/good.yaml", 6, 18, "spec.package.url"),
        ("deployments/good.yaml", 8, 40, "spec.strategy.percentage"),
    ]
    assert found["errors"][0]["message"].endswith("and Policy strict allows cdn.example.com")
    assert found["errors"][1]["remedy"] == "let the first batch take at most 5%"
    assert {error["name"] for error in found["errors"]} == {"good"}


def test_a_policy_binds_its_folder_and_one_that_does_nothing_is_a_warning(
    manifests: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (manifests / "bad.yaml").unlink()
    (manifests.parent / "policy.yaml").write_text(
        POLICY.replace("5%", "50%").replace("strict", "loose"), encoding="utf-8"
    )
    apart = manifests.parent / "elsewhere"
    apart.mkdir()
    (apart / "policy.yaml").write_text(
        POLICY.replace("10}", "20, maxRemoved: 5%}").replace("[cdn.", "[x.y, cdn."), "utf-8"
    )
    code, found = validate(capsys)
    assert (code, found["errors"]) == (0, [])
    said = [warning["message"] for warning in found["warnings"] if "policy" in warning]
    assert said == [
        "no Deployment lies in its folder or below, so that it holds for nothing",
        "maxRemoved is about the repository: only a Policy in no folder sets it",
        "maxDevices 20 has no effect: another Policy allows 10",
        "x.y in packageHosts has no effect: another Policy leaves it out",
    ]


def test_every_package_and_arm_without_a_statement_is_a_warning(
    manifests: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (manifests / "bad.yaml").unlink()
    arm = 'package: {url: b.tar.gz, checksum: "sha256:' + "1d0c" * 16 + '"}'
    line = f"  experiment: {{arms: [{{name: a, weight: 50}}, {{name: b, weight: 50, {arm}}}]}}\n"
    with (manifests / "good.yaml").open("a", encoding="utf-8") as file:
        file.write(line)
    _, found = validate(capsys)
    assert [warning["message"].split()[0] for warning in found["warnings"]] == [
        "releases/system/1.0/good.tar.gz.json",
        "releases/system/1.0/b.tar.gz.json",
    ]
