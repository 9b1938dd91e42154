"""How a release cannot be rolled out: each slip is an error with its position and a way out."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.manifests.texts import load_one, load_texts, manifest
from towline.schemas.window_words import days_named, minute_named
from towline.schemas.windows import Allow, Window, next_opening

_ASKED = "{name: a, http: {url: 'http://p/q', value: a.0}, pass: '< 1'}"


def _batches(*entries: str) -> str:
    return f"strategy: {{type: batches, batches: [{', '.join(entries)}]}}"


def _allow(days: str = "Mon", start: str = '"01:00"', length: str = "4h") -> str:
    return f"{{allow: {{days: {days}, start: {start}, length: {length}}}}}"


def _deny(first: str, last: str) -> str:
    return f"windows: [{{deny: {{from: {first}, to: {last}}}}}]"


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
        # windows
        (f"windows: [{_allow('Mo')}]", "spec.windows[0].allow.days", 28, "no days", "Mon-Fri"),
        (f"windows: [{_allow(start='25:00')}]", "spec.windows[0].allow.start", 40, "", '"25:00"'),
        (
            f"windows: [{_allow(start=repr('24:00'))}]",
            "spec.windows[0].allow.start",
            40,
            "no time of day",
            "HH:MM",
        ),
        (
            f"windows: [{_allow(length='8d')}]",
            "spec.windows[0].allow.length",
            57,
            "overlaps itself",
            "at most 7d",
        ),
        (f"windows: [{_allow(length='0h')}]", "spec.windows[0].allow.length", 57, "", "least 1s"),
        (
            f"windows: [{_allow(length='10m')}]\n  install: {{timeout: 11m}}",
            "spec.windows[0].allow.length",
            57,
            "needs 11m (install.timeout and health), and this window is open for 10m",
            "a longer one",
        ),
        (
            f"windows: [{_allow(length='10m')}]\n  health: [{{name: a, script: x, delay: 1m}}]",
            "spec.windows[0].allow.length",
            57,
            "needs 12m",
            "a longer one",
        ),
        (
            f"windows: [{_allow('Tue')}, {_allow(length='5m')}]",
            "spec.windows[1].allow.length",
            107,
            "this window is open for 5m",
            "a longer one",
        ),
        (
            f"windows: [{_allow(length='5m')}, {_allow(start=repr('01:05'), length='3m')}]",
            "spec.windows[0].allow.length",
            57,
            "this window is open for 5m",
            "a longer one",
        ),
        (
            _deny("2027-01-02", "2026-12-20"),
            "spec.windows[0].deny.to",
            43,
            "ends on 2026-12-20, before it begins on 2027-01-02",
            "swap `from` and `to`",
        ),
        (_deny("2026-02-30", "2026-12-20"), "spec.windows[0].deny.from", 27, "no date", "month"),
        (_deny("'20261220'", "2026-12-20"), "spec.windows[0].deny.from", 27, "no date", "month"),
        (_deny("soon", "2026-12-20"), "spec.windows[0].deny.from", 27, "soon is no date", "month"),
        ("windows: [{reason: x}]", "spec.windows[0]", 13, "neither allows nor", "add allow"),
        (
            "windows: [{allow: {days: Mon, start: '01:00', length: 4h},"
            " deny: {from: 2026-12-20, to: 2026-12-20}}]",
            "spec.windows[0].deny",
            68,
            "`allow` and `deny` both",
            "two windows",
        ),
        (
            f"windows: [{_allow()[:-1]}, timeZone: Europe/Berlim}}]",
            "spec.windows[0].timeZone",
            72,
            "no time zone has the name Europe/Berlim",
            "Europe/Berlin",
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
        f"windows: [{_allow(length='10m')}]",
        f"windows: [{_allow(length='5m')}, {_allow(start=repr('01:05'), length='6m')}]",
        f"windows: [{_allow('Sun', repr('23:55'), '5m')}, {_allow('Mon', repr('00:00'), '6m')}]",
        f"windows: [{_allow()}, {_allow('Tue', length='5m')[:-1]}, timeZone: Asia/Tokyo}}]",
        _deny("2026-12-20", "2026-12-20"),
        _deny("'2026-12-20'", "'2027-01-02'"),
        _batches("{name: a, size: 100%, filters: {labels: {s: x}}, approval: manual}"),
        _batches("{name: a, size: 5%, filters: {labels: {s: [x, y]}}}")
        + "\n  filters: {labels: {s: y, t: z}}",
    ],
)
def test_what_can_stand_together_loads(line: str) -> None:
    load_one(manifest(line))


_ALLOWS = st.lists(
    st.tuples(
        st.sampled_from(["Mon", "Tue-Thu", "Fri-Mon", "daily"]),
        st.sampled_from(["00:00", "00:10", "23:50"]),
        st.integers(1, 40).map(lambda minutes: minutes * 60),
    ),
    min_size=1,
    max_size=4,
)


@settings(max_examples=40)
@given(_ALLOWS, st.integers(1, 80))
def test_windows_that_load_open_for_an_installation_and_no_long_one_is_refused(
    allows: list[tuple[str, str, int]], need_minutes: int
) -> None:
    entries = [_allow(days, f"'{start}'", f"{length}s") for days, start, length in allows]
    loaded = load_texts(
        a=manifest(f"windows: [{', '.join(entries)}]", f"install: {{timeout: {need_minutes}m}}")
    )
    windows = [
        Window(Allow(days_named(days), minute_named(start), length))
        for days, start, length in allows
    ]
    opening = next_opening(windows, 1_800_000_000, None, need_minutes * 60)
    assert opening is not None or loaded.errors
    for error in loaded.errors:
        at = int(error.path[len("spec.windows[")])
        assert allows[at][2] < need_minutes * 60


def test_a_freeze_only_denies() -> None:
    freeze = (
        "apiVersion: towline/v1\nkind: Freeze\nmetadata: {name: x}\n"
        f"spec:\n  windows: [{_allow()}]\n  reason: x\n"
    )
    loaded = load_texts(a=freeze)
    (error,) = loaded.errors
    assert (error.path, error.message) == ("spec.windows[0].allow", "a Freeze only denies")
    assert (error.place.line, loaded.holds_commit) == (5, True)


def _policy(spec: str) -> str:
    return f"apiVersion: towline/v1\nkind: Policy\nmetadata: {{name: x}}\nspec: {spec}\n"


@pytest.mark.parametrize(
    ("spec", "path", "message", "remedy"),
    [
        ("{packageHosts: ['https://a/']}", "spec.packageHosts[0]", "is no host", "host alone"),
        ("{packageHosts: ['a:443']}", "spec.packageHosts[0]", "is no host", "without scheme"),
        ("{maxShareFirstBatch: 0%}", "spec.maxShareFirstBatch", "no share", "1% to 100%"),
        ("{allowStrategies: [canry]}", "spec.allowStrategies[0]", "not known", "write canary"),
        ("{minSoak: [{soak: 0s}]}", "spec.minSoak[0].soak", "zero", "at least 1s"),
        ("{approvals: [{aboveDevices: 5, count: 0}]}", "spec.approvals[0].count", "", "least 1"),
        ("{staleGit: {holdAfter: 5m}}", "spec.staleGit.holdAfter", "shorter than", "at least"),
    ],
)
def test_a_policy_that_cannot_be_meant_is_refused(
    spec: str, path: str, message: str, remedy: str
) -> None:
    loaded = load_texts(a=_policy(spec))
    (error,) = loaded.errors
    assert (error.place.line, error.path) == (4, path)
    assert message in error.message
    assert remedy in error.remedy
    assert loaded.holds_commit


def test_git_may_hold_as_soon_as_it_alerts() -> None:
    loaded = load_texts(a=_policy("{staleGit: {alertAfter: 5m, holdAfter: 5m}}"))
    assert loaded.errors == ()
