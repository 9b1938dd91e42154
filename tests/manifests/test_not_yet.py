"""Keys whose behaviour is not built yet: refused by name, accepted where they change nothing."""

import pytest

from tests.manifests.texts import PACKAGE, load_one, load_texts, manifest

_PACKAGE_WITH = PACKAGE.rstrip("}\n")


@pytest.mark.parametrize(
    ("line", "path"),
    [
        ("experiment: {arms: []}", "spec.experiment"),
        ("experiment: whatever", "spec.experiment"),
        ("hooks: {before: a.sh}", "spec.hooks"),
        ("maxDevices: 5000", "spec.maxDevices"),
        ("safeMode: true", "spec.safeMode"),
        ("progressDeadline: 1h", "spec.progressDeadline"),
        ("disruptionBudget: {groupBy: store, maxUnavailable: 1}", "spec.disruptionBudget"),
        ("windows: [{deny: {from: 2026-12-20, to: 2027-01-02}}]", "spec.windows"),
        ("selfHeal: false", "spec.selfHeal"),
        ("analysis: [{name: a}]", "spec.analysis"),
        ("rollback: {automatic: false}", "spec.rollback.automatic"),
        ("install: {reboot: always}", "spec.install.reboot always"),
        ("onFailure: rollback", "spec.onFailure rollback"),
        ("health: [{name: unit, systemd: {unit: a.service}}]", "spec.health[0].systemd"),
        (
            "strategy: {type: batches, batches: [{name: a, size: 5%, approval: manual}]}",
            "spec.strategy.batches[0].approval",
        ),
    ],
)
def test_is_refused_by_name(line: str, path: str) -> None:
    (error,) = load_texts(a=manifest(line)).errors
    assert error.message == f"not supported yet: {path}"
    assert error.path == path.split(" ", maxsplit=1)[0]
    assert error.remedy


@pytest.mark.parametrize("word", ["tree", "file", "swu", "raucb", "module:docker"])
def test_other_formats_of_packages_are_refused_by_name(word: str) -> None:
    text = manifest(package=f"{_PACKAGE_WITH}, format: '{word}'}}\n")
    (error,) = load_texts(a=text).errors
    assert error.message == f"not supported yet: spec.package.format {word}"


@pytest.mark.parametrize("more", ["deltas: [{from: '=1'}]", "deviceTypes: [rpi]", "labels: {a: b}"])
def test_keys_of_a_package_are_refused_by_name(more: str) -> None:
    text = manifest(package=f"{_PACKAGE_WITH}, {more}}}\n")
    (error,) = load_texts(a=text).errors
    assert error.message == f"not supported yet: spec.package.{more.partition(':')[0]}"


def test_several_packages_are_refused_by_name() -> None:
    text = manifest(package=PACKAGE.replace("package: ", "packages: [").rstrip() + "]\n")
    (error,) = load_texts(a=text).errors
    assert error.message == "not supported yet: spec.packages"


def test_taking_over_is_refused_by_name() -> None:
    text = manifest().replace("{name: pos-agent}", "{name: pos-agent, replaces: [old]}")
    (error,) = load_texts(a=text).errors
    assert error.message == "not supported yet: metadata.replaces"


@pytest.mark.parametrize("kind", ["Freeze", "Policy"])
def test_kinds_are_refused_by_name(kind: str) -> None:
    text = f"apiVersion: towline/v1\nkind: {kind}\nmetadata: {{name: x}}\n"
    (error,) = load_texts(a=text).errors
    assert error.message == f"not supported yet: kind {kind}"
    assert (error.place.line, error.holds_commit) == (2, True)


@pytest.mark.parametrize(
    "line",
    [
        "safeMode: false",
        "selfHeal: true",
        "progressDeadline: 48h",
        "progressDeadline: 2d",
        "rollback: {automatic: true}",
        "rollback: {}",
        "hooks: {}",
        "windows: []",
        "analysis: []",
        "onFailure: pause",
        "install: {reboot: never}",
    ],
)
def test_a_default_that_is_written_out_changes_nothing(line: str) -> None:
    assert load_one(manifest(line)) == load_one(manifest())
