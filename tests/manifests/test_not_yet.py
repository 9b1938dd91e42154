"""Keys whose behaviour is not built yet: refused by name, accepted where they change nothing."""

import pytest

from tests.manifests.texts import PACKAGE, load_one, load_texts, manifest

_PACKAGE_WITH = PACKAGE.rstrip("}\n")


@pytest.mark.parametrize(
    ("line", "path"),
    [
        ("hooks: {before: a.sh}", "spec.hooks"),
        ("install: {reboot: always}", "spec.install.reboot always"),
        ("health: [{name: unit, systemd: {unit: a.service}}]", "spec.health[0].systemd"),
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


def test_deltas_are_refused_by_name() -> None:
    text = manifest(package=f"{_PACKAGE_WITH}, deltas: [{{from: '=1'}}]}}\n")
    (error,) = load_texts(a=text).errors
    assert error.message == "not supported yet: spec.package.deltas"


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
