"""Keys that cannot stand together: each is an error with its position and a way out."""

import pytest

from tests.manifests.texts import CHECKSUM, PACKAGE, group, load_one, load_texts, manifest


def _batches(*entries: str) -> str:
    return f"strategy: {{type: batches, batches: [{', '.join(entries)}]}}"


@pytest.mark.parametrize(
    ("line", "path", "message", "remedy"),
    [
        (
            _batches("{name: a, size: 5%}").replace("}]}", "}], percentage: 5}"),
            "spec.strategy.percentage",
            "not known here",
            "belongs to type canary",
        ),
        (
            "strategy: {type: canary, batchSize: 20%}",
            "spec.strategy.batchSize",
            "not known here",
            "belongs to type rolling",
        ),
        ("strategy: {type: canary, percentage: 0}", "spec.strategy.percentage", "0", "at least 1"),
        ("strategy: {type: canary, percentage: 101}", "spec.strategy.percentage", "", "at most"),
        ("strategy: {type: canary, percentage: 10%}", "spec.strategy.percentage", "", "digits"),
        ("strategy: {type: rolling, batchSize: 20}", "spec.strategy.batchSize", "20", "write 20%"),
        ("strategy: {type: rolling, minDevices: 0}", "spec.strategy.minDevices", "", "at least 1"),
        ("strategy: canry", "spec.strategy", '"canry"', "write canary"),
        ("strategy: {percentage: 5}", "spec.strategy", "`type` is missing", "type"),
        ("strategy: batches", "spec.strategy.batches", "missing", "add `batches`"),
        ("strategy: manual", "spec.strategy", "named, and none is", "devices: [ID]"),
        ("strategy: {type: manual}", "spec.strategy", "named, and none is", "devices: [ID]"),
        ("strategy: manual\n  filters: {devices: []}", "spec.strategy", "none is", "devices: [ID]"),
        (_batches(), "spec.strategy.batches", "too few", "at least 1"),
        (
            _batches("{name: a, size: 5%}", "{name: a, size: 10%}"),
            "spec.strategy.batches[1].name",
            "two batches have the name a",
            "a name of its own",
        ),
        (
            _batches("{name: a, size: 20%}", "{name: b, size: 20%}"),
            "spec.strategy.batches[1].size",
            "20% is reached before",
            "more than 20%",
        ),
        (
            _batches("{name: a, size: 100%}", "{name: b, size: 5%, filters: {}}"),
            "spec.strategy.batches[1]",
            "nothing is left",
            "remove it",
        ),
        (
            _batches("{name: rest, size: 5%}"),
            "spec.strategy.batches[0].name",
            "follows by itself",
            "rename",
        ),
        (
            "filters: {devices: [a, b], exclude: [c, b]}",
            "spec.filters.exclude[1]",
            "b is named and excluded",
            "remove it",
        ),
        (
            "filters: {expressions: [{key: a, operator: In}]}",
            "spec.filters.expressions[0]",
            "compares with no values",
            "add values",
        ),
        (
            "filters: {expressions: [{key: a, operator: Exists, values: [x]}]}",
            "spec.filters.expressions[0].values",
            "takes no values",
            "remove `values`",
        ),
        ("filters: {labels: {a: []}}", "spec.filters.labels.a", "too few", "at least 1"),
        (
            "health: [{name: a, tcp: {port: 1}}, {name: a, tcp: {port: 2}}]",
            "spec.health[1].name",
            "two checks have the name a",
            "a name of its own",
        ),
        ("health: [{name: a}]", "spec.health[0]", "asks nothing", "one of http, tcp, script"),
        (
            "health: [{name: a, tcp: {port: 1}, script: x.sh}]",
            "spec.health[0].script",
            "`tcp` and `script`",
            "one of http, tcp, script",
        ),
        ("deviceTimeout: 0s", "spec.deviceTimeout", "zero", "at least 1s"),
        ("offline: {after: 0m}", "spec.offline.after", "zero", "at least 1s"),
        ("install: {timeout: 0s}", "spec.install.timeout", "zero", "at least 1s"),
        ("start: 2026-12-01T06:00:00", "spec.start", "no time zone", "with its zone"),
        ("start: tomorrow", "spec.start", "no time", "2026-12-01T06:00:00Z"),
        ("requires: 2.0.0", "spec.requires", "not a comparison", ">=2.0, !=2.4.1"),
        ("requires: '>=nightly'", "spec.requires", "only = and != work on it", ">=2.0"),
        ("filters: {group: lap}", "spec.filters.group", "no DeviceGroup has", "write lab"),
        ("filters: {group: [lab, x]}", "spec.filters.group[1]", "no DeviceGroup has", "{name: x}"),
        (
            _batches("{name: a, size: 5%, filters: {group: x}}"),
            "spec.strategy.batches[0].filters.group",
            "no DeviceGroup has the name x",
            "add a DeviceGroup",
        ),
        (
            _batches("{name: a, size: 5%, filters: {current_version: '=1'}}"),
            "spec.strategy.batches[0].filters.current_version",
            "not known here",
            "known here",
        ),
    ],
)
def test_is_an_error_at_its_place(line: str, path: str, message: str, remedy: str) -> None:
    loaded = load_texts(a=manifest(line), b=group("lab"))
    (error,) = loaded.errors
    assert error.path == path
    assert message in error.message
    assert remedy in error.remedy
    assert error.place.line == 7


@pytest.mark.parametrize(
    ("package", "path", "message"),
    [
        ("", "spec.package", "`package` is missing"),
        (f"{PACKAGE}  packages: []\n", "spec.packages", "`package` and `packages`"),
        (f"  package: {{checksum: '{CHECKSUM}'}}\n", "spec.package", "has no address"),
        (
            PACKAGE.replace("url: ", "urls: [a.tar.gz], url: "),
            "spec.package.urls",
            "`url` and `urls`",
        ),
        (PACKAGE.replace("url: ", "url: http://a/"), "spec.package.url", "no https address"),
        (PACKAGE.replace("url: ", "url: https://u:p@a/"), "spec.package.url", "no https address"),
        (PACKAGE.replace("pos-agent-2.4.1.tar.gz", "https://a/"), "spec.package.url", "https"),
        (PACKAGE.replace("url: ", "url: file:///"), "spec.package.url", "no https address"),
        (PACKAGE.replace("url: ", "url: ../"), "spec.package.url", "no path of a package"),
        (PACKAGE.replace("url: ", "url: /"), "spec.package.url", "no path of a package"),
        (PACKAGE.replace("0c0c", "0C0", 1), "spec.package.checksum", "no checksum"),
    ],
)
def test_a_package_is_one_file_over_https_or_of_the_server(
    package: str, path: str, message: str
) -> None:
    (error,) = load_texts(a=manifest(package=package)).errors
    assert error.path == path
    assert message in error.message


def test_shares_grow_only_among_batches_for_everybody() -> None:
    deployment = load_one(
        manifest(
            _batches(
                "{name: lab, size: 100%, filters: {labels: {stage: lab}}}",
                "{name: early, size: 10%}",
                "{name: shop, size: 5%, filters: {labels: {store: s1}}}",
                "{name: half, size: 50%}",
            )
        )
    )
    assert [plan.name for plan in deployment.batches] == ["lab", "early", "shop", "half", "rest"]


def test_a_last_batch_may_be_called_the_rest_when_it_is() -> None:
    text = manifest(_batches("{name: a, size: 5%}", "{name: rest, size: 100%}"))
    assert [plan.name for plan in load_one(text).batches] == ["a", "rest"]


def test_manual_with_named_devices_loads() -> None:
    deployment = load_one(manifest("strategy: manual", "filters: {devices: [pi-1]}"))
    assert deployment.ownership.devices == ("pi-1",)


def test_a_group_that_is_there_and_broken_is_not_called_missing() -> None:
    loaded = load_texts(a=manifest("filters: {group: lab}"), b=group("lab", "{group: x}"))
    assert [error.kind for error in loaded.errors] == ["DeviceGroup"]


def test_a_group_that_may_lie_in_an_unreadable_file_is_not_called_missing() -> None:
    loaded = load_texts(
        a=manifest("filters: {group: lab}"), b="apiVersion: towline/v1\nkind: DeviceGroup\n["
    )
    assert [error.place.file for error in loaded.errors] == ["b.yaml"]
    assert loaded.holds_commit
