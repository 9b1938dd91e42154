"""What is delivered and cannot be: packages, device types, arms, health checks."""

import pytest

from tests.manifests.texts import CHECKSUM, load_one, load_texts, manifest
from towline.manifests.errors import LoadError

_OTHER = "sha256:" + "1d" * 32


def _package(file: str, more: str = "", checksum: str = CHECKSUM) -> str:
    return f"{{url: {file}, checksum: '{checksum}'{more}}}"


def _listed(*packages: str) -> str:
    return "  packages:\n" + "".join(f"    - {package}\n" for package in packages)


def _error(text: str) -> LoadError:
    (error,) = load_texts(a=text).errors
    return error


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        ("", ""),
        ("", ", deviceTypes: [rpi]"),
        (", deviceTypes: [rpi, rock]", ", deviceTypes: [rock]"),
        (", labels: {a: [x, y]}", ", labels: {a: x, b: z}, deviceTypes: [rpi]"),
    ],
)
def test_a_package_that_an_earlier_one_always_beats_is_refused(earlier: str, later: str) -> None:
    packages = _listed(_package("a.tar", earlier), _package("b.tar", later, _OTHER))
    error = _error(manifest(package=packages))
    assert (error.place.line, error.place.column, error.path) == (8, 7, "spec.packages[1]")
    assert "packages[0] fits all of its devices" in error.message
    assert "list it before the other" in error.remedy


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        (", deviceTypes: [rpi]", ""),
        (", deviceTypes: [rpi]", ", deviceTypes: [rpi, rock]"),
        (", labels: {a: x}", ", deviceTypes: [rpi]"),
        (", labels: {a: x, b: y}", ", labels: {a: x}"),
        (", labels: {a: x}", ", labels: {a: [x, y]}"),
    ],
)
def test_a_package_that_some_device_gets_is_fine(earlier: str, later: str) -> None:
    packages = _listed(_package("a.tar", earlier), _package("b.tar", later, _OTHER))
    assert len(load_one(manifest(package=packages)).packages) == 2


def test_an_empty_list_of_packages_is_refused() -> None:
    error = _error(manifest("filters: {device_type: rpi}", package="  packages: []\n"))
    assert (error.place.line, error.place.column) == (6, 13)
    assert (error.path, error.message) == ("spec.packages", "`packages` is empty")
    assert "add a package" in error.remedy


def test_two_files_of_one_version_need_names_of_their_own() -> None:
    packages = _listed(
        _package("arm/pos.tar", ", deviceTypes: [rpi]"), _package("amd/pos.tar", "", _OTHER)
    )
    error = _error(manifest(package=packages))
    assert (error.place.line, error.place.column, error.path) == (8, 13, "spec.packages[1].url")
    assert error.message == "two packages of version 2.4.1 have the file name pos.tar"
    assert error.remedy == "give each file a name of its own"


def test_one_file_may_stand_for_two_kinds_of_devices() -> None:
    packages = _listed(
        _package("x/pos.tar", ", deviceTypes: [rpi]"), _package("pos.tar", ", labels: {a: x}")
    )
    assert len(load_one(manifest(package=packages)).packages) == 2


@pytest.mark.parametrize(
    ("asked", "path", "column"),
    [
        ("rock", "spec.filters.device_type", 26),
        ("[rpi, rock]", "spec.filters.device_type[1]", 32),
    ],
)
def test_a_device_type_without_a_package_is_refused(asked: str, path: str, column: int) -> None:
    packages = _listed(_package("a.tar", ", deviceTypes: [rpi]"))
    error = _error(manifest(f"filters: {{device_type: {asked}}}", package=packages))
    assert (error.place.line, error.place.column, error.path) == (8, column, path)
    assert error.message == "no package is for the device type rock"
    assert "add a package with it" in error.remedy


@pytest.mark.parametrize("more", ["", ", labels: {a: x}", ", deviceTypes: [rock]"])
def test_a_device_type_that_may_get_a_package_is_fine(more: str) -> None:
    packages = _listed(_package("a.tar", more))
    load_one(manifest("filters: {device_type: rock}", package=packages))


def _experiment(*arms: str) -> str:
    return manifest(f"experiment: {{arms: [{', '.join(arms)}]}}")


_B = f"package: {_package('b.tar', '', _OTHER)}"


@pytest.mark.parametrize(
    ("arms", "path", "message", "remedy"),
    [
        (("{name: a, weight: 99}",), "", "too few", "at least 2"),
        (
            ("{name: a, weight: 50}", f"{{name: b, weight: 40, {_B}}}"),
            "",
            "sum to 90",
            "make them sum to 100",
        ),
        (
            ("{name: a, weight: 50}", f"{{name: a, weight: 50, {_B}}}"),
            "[1].name",
            "two arms have the name a",
            "a name of its own",
        ),
        (
            ("{name: a, weight: 50}", "{name: b, weight: 50}"),
            "[1]",
            "arms a and b deliver the same",
            "another `targetVersion` and `package`",
        ),
        (
            ("{name: a, weight: 50}", "{name: b, weight: 50, targetVersion: '2.4.1'}"),
            "[1]",
            "arms a and b deliver the same",
            "another `targetVersion` and `package`",
        ),
        (("{name: a, weight: 0}", f"{{name: b, weight: 99, {_B}}}"), "[0].weight", "", "least 1"),
        (
            (
                "{name: a, weight: 1}",
                f"{{name: b, weight: 99, {_B.replace('b.tar', 'pos.x/../')}}}",
            ),
            "[1].package.url",
            "no path of a package",
            "/packages/",
        ),
    ],
)
def test_an_experiment_compares_releases_whose_weights_are_percent(
    arms: tuple[str, ...], path: str, message: str, remedy: str
) -> None:
    error = _error(_experiment(*arms))
    assert error.path == f"spec.experiment.arms{path}"
    assert message in error.message
    assert remedy in error.remedy
    assert error.place.line == 7


def test_an_arm_cannot_give_another_file_the_name_of_the_first() -> None:
    arm = f"{{name: b, weight: 50, package: {_package('x/pos-agent-2.4.1.tar.gz', '', _OTHER)}}}"
    error = _error(_experiment("{name: a, weight: 50}", arm))
    assert error.path == "spec.experiment.arms[1].package.url"
    assert "have the file name pos-agent-2.4.1.tar.gz" in error.message
    load = arm.replace("weight: 50", "weight: 50, targetVersion: '3'")
    load_one(_experiment("{name: a, weight: 50}", load))


def test_every_arm_has_a_package_for_a_named_device_type() -> None:
    arm = f"{{name: b, weight: 50, package: {_package('b.tar', ', deviceTypes: [rpi]', _OTHER)}}}"
    text = _experiment("{name: a, weight: 50}", arm) + "  filters: {device_type: rock}\n"
    assert _error(text).message == "no package is for the device type rock"


def test_a_check_that_never_could_pass_is_refused() -> None:
    line = "health: [{name: a, tcp: {port: 1}, successes: 13, period: 5s, timeout: 60s}]"
    error = _error(manifest(line))
    assert (error.place.line, error.place.column, error.path) == (7, 12, "spec.health[0]")
    assert error.message == "13 successes take at least 1m, and timeout is 1m"
    assert "above 1m" in error.remedy
    load_one(manifest(line.replace("60s", "61s")))
