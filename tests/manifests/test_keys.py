"""What a rollout's keys become in the model: limits, holds, windows, analyses, arms."""

from datetime import date

import pytest

from tests.manifests.texts import CHECKSUM, load_one, load_texts, manifest
from towline.manifests.model import Analysis, Arm, Budget, Deployment, OnFailure, Package
from towline.schemas.windows import Allow, Deny, Window

_OTHER = "sha256:" + "1d" * 32


@pytest.mark.parametrize(
    ("line", "key", "value"),
    [
        ("maxDevices: 5000", "max_devices", 5000),
        ("onFailure: rollback", "on_failure", OnFailure.ROLLBACK),
        ("safeMode: true", "safe_mode", True),
        ("progressDeadline: 3d", "progress_deadline_s", 3 * 86400),
        ("selfHeal: false", "self_heal", False),
        ("rollback: {automatic: false}", "rolls_back", False),
        (
            "disruptionBudget: {groupBy: store, maxUnavailable: 2}",
            "budget",
            Budget("store", 2),
        ),
        (
            "disruptionBudget: {groupBy: store, maxUnavailable: 25%}",
            "budget",
            Budget("store", 25, is_share=True),
        ),
    ],
)
def test_a_key_arrives_in_the_model(line: str, key: str, value: object) -> None:
    assert getattr(load_one(manifest(line)), key) == value
    assert getattr(load_one(manifest()), key) != value


def test_what_is_not_written_has_the_default_of_the_manual() -> None:
    plain = load_one(manifest())
    assert (plain.max_devices, plain.budget, plain.safe_mode) == (None, None, False)
    assert (plain.windows, plain.analysis, plain.arms, plain.replaces) == ((), (), (), ())
    assert (plain.progress_deadline_s, plain.self_heal, plain.rolls_back) == (172800, True, True)


def test_a_deployment_says_whose_devices_it_takes_over() -> None:
    text = manifest().replace("{name: pos-agent}", "{name: pos-agent, replaces: [old, older, old]}")
    assert load_one(text).replaces == ("old", "older")


def test_a_batch_may_want_an_approval() -> None:
    line = "{type: batches, batches: [{name: a, size: 5%, approval: manual}, {name: b, size: 9%}]}"
    batches = load_one(manifest(f"strategy: {line}")).batches
    assert [plan.needs_approval for plan in batches] == [True, False, False]


def test_windows_are_days_hours_and_dates() -> None:
    deployment = load_one(
        manifest(
            "windows:",
            '  - {allow: {days: Mon-Fri, start: "01:30", length: 4h}}',
            "  - deny: {from: 2026-12-20, to: 2027-01-02}",
            "    timeZone: Europe/Berlin",
            "    reason: holiday freeze",
        )
    )
    assert deployment.windows == (
        Window(Allow(frozenset(range(5)), 90, 4 * 3600)),
        Window(Deny(date(2026, 12, 20), date(2027, 1, 2)), "Europe/Berlin", "holiday freeze"),
    )


def test_an_analysis_is_a_comparison_with_a_bound() -> None:
    deployment = load_one(
        manifest(
            "analysis:",
            "  - name: crash-rate",
            "    http:",
            '      url: "http://prom:9090/api/v1/query?query=x"',
            "      value: data.result.0.value.1",
            '    pass: "< 0.01"',
            "    interval: 1m",
            "    count: 2",
            '  - {name: up, http: {url: "https://x/y", value: ok}, pass: ">=-1"}',
        )
    )
    url = "http://prom:9090/api/v1/query?query=x"
    assert deployment.analysis == (
        Analysis("crash-rate", url, "data.result.0.value.1", "<", "0.01", 60, 2),
        Analysis("up", "https://x/y", "ok", ">=", "-1", 300, 3),
    )


def _package(file: str, checksum: str = CHECKSUM, **conditions: str) -> str:
    more = "".join(f", {key}: {value}" for key, value in conditions.items())
    return f"{{url: {file}, checksum: '{checksum}'{more}}}"


def test_packages_are_tried_in_the_order_in_which_they_are_listed() -> None:
    listed = [
        _package("arm.tar.gz", deviceTypes="[rpi5, rpi4]"),
        _package("eu.tar.gz", _OTHER, labels="{region: eu, store: [s2, s1]}"),
        _package("rest.tar.gz", CHECKSUM.replace("0c", "0d")),
    ]
    arm, eu, rest = load_one(manifest(package=f"  packages: [{', '.join(listed)}]\n")).packages
    assert (arm.device_types, arm.labels) == (("rpi4", "rpi5"), ())
    assert (eu.device_types, eu.labels) == ((), (("region", ("eu",)), ("store", ("s1", "s2"))))
    assert (rest.device_types, rest.labels) == ((), ())


def _arms(*arms: str) -> Deployment:
    return load_one(manifest(f"experiment: {{arms: [{', '.join(arms)}]}}"))


def test_an_arm_has_what_it_does_not_say_from_its_deployment() -> None:
    deployment = _arms(
        "{name: a, weight: 60}",
        f"{{name: b, weight: 40, targetVersion: '2.5', package: {_package('b.tar', _OTHER)}}}",
    )
    other = Package(("b.tar",), _OTHER.removeprefix("sha256:"))
    assert deployment.arms == (
        Arm("a", 60, "2.4.1", deployment.packages),
        Arm("b", 40, "2.5", (other,)),
    )


def test_a_freeze_gives_its_reason_to_its_windows() -> None:
    freeze = (
        "apiVersion: towline/v1\nkind: Freeze\nmetadata: {name: holidays}\nspec:\n"
        "  windows:\n"
        "    - {deny: {from: 2026-12-20, to: 2027-01-02}, timeZone: UTC}\n"
        "    - {deny: {from: 2026-11-27, to: 2026-11-27}, reason: black friday}\n"
        "  filters: {labels: {site: shop}}\n"
        "  reason: holiday freeze\n"
    )
    loaded = load_texts(a=freeze)
    assert loaded.errors == ()
    entry = loaded.freezes["holidays"]
    assert (entry.name, entry.file, entry.reason) == ("holidays", "a.yaml", "holiday freeze")
    assert entry.ownership.labels == (("site", ("shop",)),)
    assert [window.reason for window in entry.windows] == ["holiday freeze", "black friday"]
    assert entry.windows[0].zone == "UTC"
