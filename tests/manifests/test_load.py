"""Loading all manifests of a commit: isolation, identity, errors in one go."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.manifests.texts import CHECKSUM, PACKAGE, group, load_one, load_texts, manifest, said
from towline.manifests.load import load
from towline.manifests.model import (
    Expression,
    HealthCheck,
    OnFailure,
    Operator,
    Ownership,
    Start,
    StartMode,
    StrategyKind,
)
from towline.schemas.problems import Place


def test_the_smallest_manifest_has_the_defaults_of_the_manual() -> None:
    deployment = load_one(manifest())
    assert deployment.name == deployment.title == "pos-agent"
    assert deployment.file == "a.yaml"
    assert deployment.component == "system"
    assert deployment.packages[0].urls == ("pos-agent-2.4.1.tar.gz",)
    assert deployment.packages[0].sha256 == CHECKSUM.removeprefix("sha256:")
    assert (deployment.strategy, deployment.rollout_percentage) == (StrategyKind.CANARY, 10)
    assert (deployment.success_threshold, deployment.on_failure) == (95, OnFailure.PAUSE)
    assert (deployment.device_timeout_s, deployment.offline_after_s) == (3600, 86400)
    assert (deployment.max_concurrent, deployment.install.timeout_s) == (1000, 600)
    assert deployment.start == Start(StartMode.AUTOMATIC)
    assert not deployment.paused
    assert not deployment.allow_downgrade


def test_every_working_key_arrives() -> None:
    text = manifest(
        'targetVersion: "2.5.0"',
        "component: pos",
        'requires: ">=2.0.0"',
        "allowDowngrade: true",
        "install: {timeout: 5m, reboot: never}",
        "releaseNotes: Bug fixes",
        "order: name",
        "soak: 2d",
        "successThreshold: 90%",
        "onFailure: abort",
        "deviceTimeout: 30m",
        "maxConcurrent: 7",
        "offline: {after: 12h}",
        "start: 2026-12-01T06:00:00Z",
        "paused: true",
        "filters:",
        "  device_type: [rpi5, rpi4]",
        "  group: lab",
        "  labels: {region: eu, store: [s2, s1]}",
        "  expressions: [{key: stage, operator: NotIn, values: [dev]}]",
        "  devices: [pi-2, pi-1]",
        "  exclude: [pi-7]",
        '  current_version: ">=2.0, !=2.4.1"',
        "  status: online",
    ).replace("{name: pos-agent}", "{name: pos-agent, title: POS agent, labels: {team: retail}}")
    loaded = load_texts(a=text, b=group("lab"))
    assert loaded.errors == ()
    deployment = loaded.deployments["pos-agent"]
    assert deployment.title == "POS agent"
    assert deployment.labels == (("team", "retail"),)
    assert (deployment.component, deployment.target_version) == ("pos", "2.5.0")
    assert deployment.allow_downgrade
    assert deployment.release_notes == "Bug fixes"
    assert deployment.ownership == Ownership(
        device_types=("rpi4", "rpi5"),
        groups=("lab",),
        labels=(("region", ("eu",)), ("store", ("s1", "s2"))),
        expressions=(Expression("stage", Operator.NOT_IN, ("dev",)),),
        devices=("pi-1", "pi-2"),
        exclude=("pi-7",),
    )
    assert deployment.eligibility.current_version == ">=2.0,!=2.4.1"
    assert deployment.eligibility.requires == ">=2.0.0"
    assert deployment.eligibility.status == "online"
    assert deployment.start == Start(StartMode.AT, 1796104800)
    assert (deployment.order, deployment.on_failure) == ("name", OnFailure.ABORT)
    assert (deployment.device_timeout_s, deployment.max_concurrent) == (1800, 7)
    assert (deployment.offline_after_s, deployment.install.timeout_s) == (43200, 300)
    assert deployment.batches[0].soak_s == 2 * 86400
    assert deployment.batches[0].success_threshold == 90
    assert deployment.paused


def test_health_checks_are_expanded_to_what_a_device_is_told() -> None:
    deployment = load_one(
        manifest(
            "health:",
            "  - {name: web, http: {port: 8080}, delay: 3s}",
            "  - {name: port, tcp: {port: 22}, period: 1m, successes: 2, timeout: 5m}",
            "  - {name: probe, script: health/pos.sh}",
        )
    )
    assert deployment.health == (
        HealthCheck("web", {"http": {"port": 8080, "path": "/", "status": 200}}, delay_s=3),
        HealthCheck("port", {"tcp": {"port": 22}}, period_s=60, successes=2, timeout_s=300),
        HealthCheck("probe", {"script": "health/pos.sh"}),
    )


def test_the_other_kinds_load() -> None:
    device = (
        "apiVersion: towline/v1\nkind: Device\nmetadata: {name: pi-1, labels: {store: s1}}\n"
        f"spec: {{publicKey: 'ed25519:{'ab' * 32}', deviceType: rpi, state: revoked}}\n"
    )
    loaded = load_texts(a=group("lab") + "---\n" + device)
    assert loaded.errors == ()
    assert loaded.groups["lab"].ownership.labels == (("stage", ("lab",)),)
    entry = loaded.devices["pi-1"]
    assert (entry.labels, entry.device_type, entry.revoked) == ((("store", "s1"),), "rpi", True)
    assert entry.public_key == "ed25519:" + "ab" * 32


def test_a_device_may_only_be_labelled() -> None:
    loaded = load_texts(a="apiVersion: towline/v1\nkind: Device\nmetadata: {name: pi-1}\n")
    assert loaded.errors == ()
    assert loaded.devices["pi-1"].public_key is None


def test_one_broken_document_leaves_the_others_alone() -> None:
    broken = manifest("soak: 5", name="broken")
    loaded = load_texts(a=manifest(name="one") + "---\n" + broken, b=manifest(name="two"))
    assert set(loaded.deployments) == {"one", "two"}
    assert loaded.broken == {"broken"}
    assert not loaded.holds_commit
    (error,) = loaded.errors
    assert (error.kind, error.name) == ("Deployment", "broken")
    assert error.place == Place("a.yaml", 14, 9)
    assert error.path == "spec.soak"
    assert str(error).startswith("a.yaml:14:9: spec.soak: 5 is no duration")
    assert error.remedy == "write 5s"


def test_all_errors_of_all_files_come_in_one_go_in_order() -> None:
    bad = manifest("targetVersion: 2.10", "soak: 6m", "soak: 7m", "maxConcurrent: 0", "paused: 1")
    loaded = load_texts(b=bad, a="apiVersion: towline/v1\nkind: [", c=group("g", "{group: x}"))
    assert [(e.place.file, e.path) for e in loaded.errors] == [
        ("a.yaml", ""),
        ("b.yaml", "spec.targetVersion"),
        ("b.yaml", "spec.soak"),
        ("b.yaml", "spec.maxConcurrent"),
        ("b.yaml", "spec.paused"),
        ("c.yaml", "spec.filters.group"),
    ]


@pytest.mark.parametrize("kind", ["DeviceGroup", "Freeze", "Policy"])
def test_what_others_lean_on_holds_the_whole_commit(kind: str) -> None:
    text = f"apiVersion: towline/v1\nkind: {kind}\nmetadata: {{name: x}}\nspec: {{nonsense: 1}}\n"
    loaded = load_texts(a=text, b=manifest())
    assert loaded.holds_commit
    assert loaded.broken == frozenset()
    unreadable = load_texts(a=f"apiVersion: towline/v1\nkind: {kind}\nspec: [")
    assert unreadable.holds_commit


def test_a_file_that_is_no_yaml_names_nothing_and_is_listed() -> None:
    loaded = load_texts(a="apiVersion: towline/v1\nkind: Deployment\nspec: [", b=manifest())
    assert loaded.unreadable == ("a.yaml",)
    assert [(error.kind, error.name) for error in loaded.errors] == [(None, None)]
    assert not loaded.holds_commit
    assert set(loaded.deployments) == {"pos-agent"}


@pytest.mark.parametrize("name", ["{}", "{name: UPPER}", "{name: 5}", "{name: [a]}", "x"])
def test_a_document_whose_name_cannot_be_known_makes_its_file_unreadable(name: str) -> None:
    loaded = load_texts(a=manifest().replace("{name: pos-agent}", name))
    assert loaded.unreadable == ("a.yaml",)
    assert loaded.errors[0].name is None
    assert not loaded.deployments


def test_a_file_that_lost_every_sign_of_towline_is_kept_without_an_error() -> None:
    loaded = load({"a.yaml": b"{{ template }}: [", "b.yaml": b"\xff\xfe"})
    assert loaded.errors == ()
    assert loaded.unreadable == ("a.yaml", "b.yaml")


def test_a_manifest_in_utf_16_is_told_to_be_utf_8() -> None:
    loaded = load({"a.yaml": manifest().encode("utf-16")})
    assert loaded.errors[0].remedy == "save the file as UTF-8"


@pytest.mark.parametrize(
    "text",
    [
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: &x a}\n",
        "kind: Chart\nname: x\n",
        "- a list\n",
        "just words\n",
        "",
        "---\n---\n",
    ],
)
def test_documents_of_others_are_passed_over(text: str) -> None:
    loaded = load_texts(a=text, b=text + "\n---\n" + manifest())
    assert loaded.errors == ()
    assert set(loaded.deployments) == {"pos-agent"}


@pytest.mark.parametrize(
    ("first_line", "path", "remedy"),
    [
        ("", "apiVersion", "add apiVersion: towline/v1"),
        ("apiVersion: towline/v2\n", "apiVersion", "write apiVersion: towline/v1"),
        ("apiVersion: towlin/v1\n", "apiVersion", "write apiVersion: towline/v1"),
    ],
)
def test_a_slip_in_the_api_version_is_an_error_and_no_removal(
    first_line: str, path: str, remedy: str
) -> None:
    loaded = load_texts(a=manifest().replace("apiVersion: towline/v1\n", first_line))
    assert [(error.path, error.remedy) for error in loaded.errors] == [(path, remedy)]
    assert loaded.broken == {"pos-agent"}


def test_a_slip_in_the_kind_still_knows_what_was_meant() -> None:
    loaded = load_texts(a=manifest().replace("kind: Deployment", "kind: Deploymnet"))
    assert loaded.errors[0].remedy == "write kind: Deployment"
    assert loaded.broken == {"pos-agent"}
    held = load_texts(a=group("g").replace("kind: DeviceGroup", "kind: DeviceGruop"))
    assert held.holds_commit


def test_a_kind_that_could_be_anything_counts_as_a_broken_deployment() -> None:
    loaded = load_texts(a=manifest().replace("kind: Deployment", "kind: Q"))
    assert loaded.broken == loaded.broken_devices == {"pos-agent"}


def test_a_broken_device_is_known_by_its_name() -> None:
    text = "apiVersion: towline/v1\nkind: Device\nmetadata: {name: pi-1}\nspec: {state: gone}\n"
    loaded = load_texts(a=text)
    assert loaded.broken_devices == {"pi-1"}
    assert loaded.broken == frozenset()


def test_two_of_one_name_name_each_other_and_neither_counts() -> None:
    loaded = load_texts(a=manifest(), b=group("pos-agent") + "---\n" + manifest())
    assert [(str(error.place), error.message) for error in loaded.errors] == [
        ("a.yaml:3:18", "another Deployment has the name pos-agent: b.yaml:8:18"),
        ("b.yaml:8:18", "another Deployment has the name pos-agent: a.yaml:3:18"),
    ]
    assert loaded.broken == {"pos-agent"}
    assert not loaded.deployments
    assert set(loaded.groups) == {"pos-agent"}


def test_only_yaml_outside_of_other_folders_is_read() -> None:
    text = manifest().encode()
    ignored = {
        "README.md": text,
        "a.json": text,
        ".github/a.yaml": text,
        "x/.hidden/a.yaml": text,
        "releases/system/a.yaml": text,
        "trust/root/a.yml": text,
    }
    assert load(ignored).deployments == {}
    assert set(load({**ignored, "deployments/releases/a.yml": text}).deployments) == {"pos-agent"}


def test_a_hundred_thousand_brackets_are_refused_like_any_other_file() -> None:
    loaded = load({"a.yaml": b"apiVersion: towline/v1\n" + b"[" * 100_000})
    assert "lie inside each other" in loaded.errors[0].message
    assert loaded.unreadable == ("a.yaml",)


def test_a_yaml_fault_is_said_once() -> None:
    text = manifest("soak: &a 1h", "deviceTimeout: *a")
    assert [error.message for error in load_texts(a=text).errors] == [
        "an anchor is not allowed",
        "an alias is not allowed",
    ]


_LINES = st.sampled_from(
    [
        "strategy: rolling",
        "strategy: {type: batches, batches: [{name: a, size: 5%}]}",
        "strategy: 5",
        "soak: [1]",
        "filters: {labels: {a: [b, {}]}}",
        "filters: []",
        "health: [{}]",
        "health: {a: 1}",
        "install: never",
        "start: now",
        "experiment: {arms: 3}",
        "packages: [1]",
        "rollback:",
        "<<: {a: b}",
        "windows: [{allow: 1}]",
        "requires: '>=x'",
        "? {a: b}",
    ]
)


@given(st.lists(_LINES, max_size=6))
def test_whatever_stands_there_loads_or_says_why(lines: list[str]) -> None:
    loaded = load_texts(a=manifest(*lines))
    assert ("pos-agent" in loaded.deployments) != bool(loaded.errors)
    for error in loaded.errors:
        assert error.message
        assert error.remedy
        assert error.place.line
        assert "does not fit" not in error.message


def test_paths_and_remedies_of_common_slips() -> None:
    text = manifest(
        'targetVersion: "1"',
        "targtVersion: x",
        "successThreshold: 95",
        "filters: {device_typ: x, labels: {country: no}}",
        "onFailure: retry",
        "offline: 5h",
        package=PACKAGE.replace("checksum: 'sha256:", "checksum: 'md5:"),
    )
    assert {path: remedy for path, _, remedy in said(load_texts(a=text))} == {
        "spec.package.checksum": "write sha256: and the 64 hex digits that `sha256sum FILE` prints",
        "spec.targtVersion": "write `targetVersion`",
        "spec.successThreshold": "write 95%",
        "spec.filters.device_typ": "write `device_type`",
        "spec.filters.labels.country": 'write "no" in quotes',
        "spec.onFailure": "write one of pause, abort, rollback",
        "spec.offline": "write `key: value` pairs, indented",
    }


def test_a_number_where_text_belongs_is_answered_with_its_quoted_form() -> None:
    (error,) = load_texts(a=manifest("targetVersion: 2.10")).errors
    assert error.message == "the number 2.10 stands where a version belongs"
    assert error.remedy == 'write "2.10" in quotes'
