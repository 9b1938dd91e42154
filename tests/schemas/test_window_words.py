"""Windows as people and documents write them."""

from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from towline.schemas.problems import Refused
from towline.schemas.window_words import (
    days_named,
    days_text,
    document,
    local_text,
    minute_named,
    minute_text,
    parse,
    why_closed,
)
from towline.schemas.windows import LENGTH_LIMIT_S, WINDOWS_LIMIT, Allow, Deny, Window

WEEKDAYS = frozenset(range(5))
NIGHT = {"allow": {"days": "Mon-Fri", "start": "01:00", "length": 4 * 3600}}
HOLIDAYS = {"deny": {"from": "2026-12-20", "to": "2027-01-02"}}


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("Mon-Fri", {0, 1, 2, 3, 4}),
        ("Mon", {0}),
        ("Sat,Sun", {5, 6}),
        ("Sat, Sun", {5, 6}),
        ("Fri-Mon", {4, 5, 6, 0}),
        ("Mon,Wed-Fri", {0, 2, 3, 4}),
        ("daily", set(range(7))),
        ("Mon-Sun", set(range(7))),
    ],
)
def test_words_for_days_are_read(text: str, days: set[int]) -> None:
    assert days_named(text) == days


@pytest.mark.parametrize("text", ["", "mon", "Monday", "Mon-", "-Fri", "Mon-Wed-Fri", "Mon,,Tue"])
def test_other_words_for_days_are_refused_with_what_to_write(text: str) -> None:
    with pytest.raises(ValueError, match="write Mon-Fri"):
        days_named(text)


@given(st.frozensets(st.integers(0, 6), min_size=1))
def test_every_set_of_days_has_words_that_mean_it(days: frozenset[int]) -> None:
    assert days_named(days_text(days)) == days


@given(st.integers(0, 24 * 60 - 1))
def test_every_minute_of_the_day_has_words_that_mean_it(minute: int) -> None:
    assert minute_named(minute_text(minute)) == minute


@pytest.mark.parametrize("text", ["24:00", "1:00", "01:60", "0100", "", "01:00:00", "0\u0661:00"])
def test_what_is_no_time_of_day_is_refused_with_what_to_write(text: str) -> None:
    with pytest.raises(ValueError, match="write HH:MM"):
        minute_named(text)


WINDOWS = st.builds(
    Window,
    st.builds(
        Allow,
        st.frozensets(st.integers(0, 6), min_size=1),
        st.integers(0, 24 * 60 - 1),
        st.integers(1, LENGTH_LIMIT_S),
    )
    | st.tuples(st.dates(), st.dates()).map(lambda pair: Deny(min(pair), max(pair))),
    st.none() | st.sampled_from(["UTC", "Europe/Berlin"]),
    st.sampled_from(["", "holiday freeze"]),
)


@given(st.lists(WINDOWS, max_size=3).map(tuple))
def test_a_document_is_read_as_it_was_written(windows: tuple[Window, ...]) -> None:
    assert parse([document(window) for window in windows]) == windows


def test_the_wire_is_as_the_manifest_writes_it() -> None:
    found = parse([NIGHT, HOLIDAYS | {"timeZone": "UTC", "reason": "holiday freeze"}])
    assert found == (
        Window(Allow(WEEKDAYS, 60, 4 * 3600)),
        Window(Deny(date(2026, 12, 20), date(2027, 1, 2)), "UTC", "holiday freeze"),
    )
    assert document(found[0]) == NIGHT


@pytest.mark.parametrize(
    "documents",
    [
        None,
        {},
        ["night"],
        [{}],
        [NIGHT | HOLIDAYS],
        [{"allow": {"days": "Mon", "start": "01:00"}}],
        [{"allow": {"days": "Mon", "start": "01:00", "length": 0}}],
        [{"allow": {"days": "Mon", "start": "01:00", "length": True}}],
        [{"allow": {"days": "Mon", "start": "01:00", "length": LENGTH_LIMIT_S + 1}}],
        [{"allow": {"days": "Mo", "start": "01:00", "length": 60}}],
        [{"allow": {"days": "Mon", "start": "25:00", "length": 60}}],
        [{"deny": {"from": "2026-12-20"}}],
        [{"deny": {"from": "2026-12-20", "to": "2026-12-19"}}],
        [{"deny": {"from": "20261220", "to": "20261221"}}],
        [{"deny": {"from": "2026-13-01", "to": "2026-13-02"}}],
        [NIGHT | {"timeZone": 5}],
        [NIGHT] * (WINDOWS_LIMIT + 1),
    ],
)
def test_what_is_no_list_of_windows_is_refused(documents: Any) -> None:
    with pytest.raises(Refused) as refused:
        parse(documents)
    assert refused.value.code == "bad-field"


def test_why_it_is_closed_is_told_in_words() -> None:
    windows = parse([NIGHT, HOLIDAYS | {"reason": "holiday freeze"}])
    noon_of_thursday, in_the_night, christmas = 1_768_478_400, 1_768_440_600, 1_798_160_400
    assert why_closed(windows, in_the_night, None) == ""
    assert why_closed(windows, noon_of_thursday, None) == "only Mon-Fri from 01:00 for 4 h (UTC)"
    assert (
        why_closed(windows, christmas, "Europe/Berlin")
        == "holiday freeze: not 2026-12-20 to 2027-01-02 (Europe/Berlin)"
    )


def test_a_time_is_shown_by_the_devices_clock_and_by_utc_where_its_zone_is_not_known() -> None:
    assert local_text(1_768_478_400, "Europe/Berlin") == "Thu 2026-01-15 13:00 Europe/Berlin"
    assert local_text(1_768_478_400, "Mars/Olympus") == "Thu 2026-01-15 12:00 UTC"
