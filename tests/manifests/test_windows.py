"""Windows: those in which nothing could ever start are refused, and what they say of themselves."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.manifests.texts import load_one, load_texts, manifest
from towline.schemas.window_words import days_named, minute_named
from towline.schemas.windows import Allow, Window, next_opening


def _allow(days: str = "Mon", start: str = '"01:00"', length: str = "4h") -> str:
    return f"{{allow: {{days: {days}, start: {start}, length: {length}}}}}"


def _deny(first: str, last: str) -> str:
    return f"windows: [{{deny: {{from: {first}, to: {last}}}}}]"


@pytest.mark.parametrize(
    ("line", "path", "column", "message", "remedy"),
    [
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


@pytest.mark.parametrize(
    "line",
    [
        f"windows: [{_allow(length='10m')}]",
        f"windows: [{_allow(length='5m')}, {_allow(start=repr('01:05'), length='6m')}]",
        f"windows: [{_allow('Sun', repr('23:55'), '5m')}, {_allow('Mon', repr('00:00'), '6m')}]",
        f"windows: [{_allow()}, {_allow('Tue', length='5m')[:-1]}, timeZone: Asia/Tokyo}}]",
        _deny("2026-12-20", "2026-12-20"),
        _deny("'2026-12-20'", "'2027-01-02'"),
    ],
)
def test_windows_that_open_for_long_enough_load(line: str) -> None:
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
