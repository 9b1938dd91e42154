"""How a release cannot be rolled out: each slip is an error with its position and a way out."""

import pytest

from tests.manifests.texts import load_one, load_texts, manifest

_ASKED = "{name: a, http: {url: 'http://p/q', value: a.0}, pass: '< 1'}"


def _batches(*entries: str) -> str:
    return f"strategy: {{type: batches, batches: [{', '.join(entries)}]}}"


def _analysis(old: str, new: str) -> str:
    return f"analysis: [{_ASKED.replace(old, new)}]"


@pytest.mark.parametrize(
    ("line", "path", "column", "message", "remedy"),
    [
        # limits
        ("maxDevices: 0", "spec.maxDevices", 15, "out of range", "at least 1"),
        (
            "maxDevices: 1\n  filters: {devices: [a, b]}",
            "spec.maxDevices",
            15,
            "2 devices are named",
            "at least 2",
        ),
        (
            "progressDeadline: 30m",
            "spec.progressDeadline",
            21,
            "progressDeadline is 30m, and a device may take deviceTimeout, 1h",
            "progressDeadline: 1h",
        ),
        (
            "deviceTimeout: 3d",
            "spec.deviceTimeout",
            18,
            "progressDeadline is 2d",
            "progressDeadline: 3d",
        ),
        (
            "disruptionBudget: {groupBy: store, maxUnavailable: 0}",
            "spec.disruptionBudget.maxUnavailable",
            54,
            "0 is neither a number of devices nor a share",
            "at least 1",
        ),
        (
            "disruptionBudget: {groupBy: store, maxUnavailable: 0%}",
            "spec.disruptionBudget.maxUnavailable",
            54,
            "neither a number of devices nor a share",
            "from 1% to 100%",
        ),
        (
            "disruptionBudget: {maxUnavailable: 1}",
            "spec.disruptionBudget.groupBy",
            21,
            "`groupBy` is missing",
            "add `groupBy`",
        ),
        # between batches
        (
            f"analysis: [{_ASKED}]\n  strategy: immediate",
            "spec.analysis",
            13,
            "there is only one",
            "a strategy with more batches",
        ),
        (
            _batches("{name: a, size: 5%}", "{name: b, size: 100%, approval: manual}"),
            "spec.strategy.batches[1].approval",
            92,
            "no batch comes after this one",
            "remove it",
        ),
        (
            _batches("{name: a, size: 5%, approval: two}"),
            "spec.strategy.batches[0].approval",
            69,
            '"two" is not known here',
            "manual",
        ),
        (
            _batches("{name: x, size: 5%, filters: {device_type: rock}}")
            + "\n  filters: {device_type: rpi}",
            "spec.strategy.batches[0].filters.device_type",
            82,
            "batch x matches no device",
            "what `spec.filters` lets through",
        ),
        (
            _batches("{name: x, size: 5%, filters: {labels: {s: [a, b]}}}")
            + "\n  filters: {labels: {s: c}}",
            "spec.strategy.batches[0].filters.labels.s",
            81,
            "batch x matches no device",
            "what `spec.filters` lets through",
        ),
        (
            _batches("{name: x, size: 5%, filters: {devices: [pi-1]}}")
            + "\n  filters: {exclude: [pi-1, pi-2]}",
            "spec.strategy.batches[0].filters.devices",
            78,
            "batch x matches no device",
            "what `spec.filters` lets through",
        ),
        # analyses
        (_analysis("< 1", "below 1"), "spec.analysis[0].pass", 69, "compares", '"< 0.01"'),
        (_analysis("< 1", "= 1"), "spec.analysis[0].pass", 69, "compares", '"< 0.01"'),
        (_analysis("< 1", "< x"), "spec.analysis[0].pass", 69, "compares", '"< 0.01"'),
        (
            _analysis("http://p/q", "file:///etc/passwd"),
            "spec.analysis[0].http.url",
            36,
            "no http address",
            "http:// or https://",
        ),
        (_analysis("http://p/q", "http://u:p@h/"), "spec.analysis[0].http.url", 36, "", "password"),
        (_analysis("http://p/q", "http://h/a#b"), "spec.analysis[0].http.url", 36, "", "http://"),
        (_analysis("http://p/q", "http://h/a b"), "spec.analysis[0].http.url", 36, "", "%20"),
        (_analysis("a.0", "a..0"), "spec.analysis[0].http.value", 57, "no place", "data.result"),
        (_analysis("}, pass", "}, count: 0, pass"), "spec.analysis[0].count", 70, "", "least 1"),
        (
            f"analysis: [{_ASKED}, {_ASKED}]",
            "spec.analysis[1].name",
            84,
            "two analyses have the name a",
            "a name of its own",
        ),
        # starts
        ("start: 2026-13-01T06:00:00Z", "spec.start", 10, "no time", "2026-12-01T06:00:00Z"),
        ("start: 5", "spec.start", 10, "", '"5"'),
    ],
)
def test_is_an_error_at_its_place(
    line: str, path: str, column: int, message: str, remedy: str
) -> None:
    (error,) = load_texts(a=manifest(line)).errors
    assert error.path == path
    assert message in error.message
    assert remedy in error.remedy
    assert (error.place.line, error.place.column) == (7, column)


def _replacing(name: str, old: str) -> str:
    return manifest(name=name).replace(f"name: {name}", f"name: {name}, replaces: [x, {old}]")


def test_a_deployment_cannot_replace_itself() -> None:
    (error,) = load_texts(a=_replacing("new", "new")).errors
    assert (error.place.line, error.place.column, error.path) == (3, 37, "metadata.replaces[1]")
    assert error.message == "a Deployment cannot replace itself"


def test_two_deployments_cannot_replace_each_other() -> None:
    loaded = load_texts(a=_replacing("new", "old"), b=_replacing("old", "new"))
    assert [(str(error.place), error.path, error.message) for error in loaded.errors] == [
        ("a.yaml:3:37", "metadata.replaces[1]", "new and old replace each other"),
        ("b.yaml:3:37", "metadata.replaces[1]", "old and new replace each other"),
    ]
    assert load_texts(a=_replacing("new", "old"), b=_replacing("old", "older")).errors == ()


@pytest.mark.parametrize(
    "line",
    [
        f"analysis: [{_ASKED}]",
        f"analysis: [{_ASKED}]\n  strategy: immediate\n  safeMode: true",
        "safeMode: true\n  strategy: manual\n  filters: {devices: [a]}",
        "maxDevices: 2\n  filters: {devices: [a, b, b]}",
        "progressDeadline: 1h",
        _batches("{name: a, size: 100%, filters: {labels: {s: x}}, approval: manual}"),
        _batches("{name: a, size: 5%, filters: {labels: {s: [x, y]}}}")
        + "\n  filters: {labels: {s: y, t: z}}",
    ],
)
def test_what_can_stand_together_loads(line: str) -> None:
    load_one(manifest(line))
