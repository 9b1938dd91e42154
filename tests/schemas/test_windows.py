"""When an install may start: by hand on the days that matter, and against python-dateutil.

The oracle knows nothing of spans: it asks for one instant whether it is open, from dateutil's
recurrences and its own reading of the time zones, and steps through the minutes.
"""

from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Any

import pytest
from dateutil import rrule, tz
from hypothesis import example, given
from hypothesis import strategies as st

from towline.schemas import windows as windows_module
from towline.schemas.windows import (
    DAY_S,
    HORIZON_DAYS,
    Allow,
    Deny,
    Window,
    closes_at,
    install_need_s,
    is_open,
    longest_opening,
    next_opening,
    opening_if_known,
    zone_named,
)

BERLIN = "Europe/Berlin"
ZONES = (BERLIN, "America/New_York", "Australia/Lord_Howe", "Pacific/Apia", "UTC")
EVERY_DAY = frozenset(range(7))
HOUR_S = 3600


def at(text: str) -> int:
    """Seconds of an ISO time with its offset."""
    return int(datetime.fromisoformat(text).timestamp())


def nightly(start: str = "01:00", hours: float = 4, days: frozenset[int] = EVERY_DAY) -> Window:
    hour, minute = start.split(":")
    return Window(Allow(days, int(hour) * 60 + int(minute), int(hours * HOUR_S)))


def denied(first: str, last: str, zone: str | None = None) -> Window:
    return Window(Deny(date.fromisoformat(first), date.fromisoformat(last)), zone)


def test_without_windows_it_is_always_open_and_never_closes() -> None:
    assert is_open((), 0, None)
    assert closes_at((), 5, None) is None
    assert next_opening((), 5, None, need_s=10**7) == 5
    assert longest_opening(()) == HORIZON_DAYS * DAY_S


def test_it_opens_and_closes_by_the_devices_clock() -> None:
    windows = (nightly(),)
    noon = at("2026-01-14T12:00+01:00")
    assert next_opening(windows, noon, BERLIN) == at("2026-01-15T01:00+01:00")
    assert next_opening(windows, noon, None) == at("2026-01-15T01:00+00:00")
    inside = at("2026-01-15T02:30+01:00")
    assert is_open(windows, inside, BERLIN)
    assert not is_open(windows, at("2026-01-15T05:00+01:00"), BERLIN)
    assert closes_at(windows, inside, BERLIN) == at("2026-01-15T05:00+01:00")
    assert closes_at(windows, noon, BERLIN) == noon


def test_the_windows_own_zone_wins_over_the_devices() -> None:
    windows = (Window(Allow(EVERY_DAY, 60, HOUR_S), "Asia/Tokyo"),)
    assert next_opening(windows, at("2026-01-14T12:00+00:00"), BERLIN) == at(
        "2026-01-15T01:00+09:00"
    )


def test_a_window_may_go_on_over_midnight_and_belongs_to_the_day_on_which_it_opens() -> None:
    friday = (nightly("22:00", 6, frozenset({4})),)
    assert is_open(friday, at("2026-01-17T03:59+00:00"), None)
    assert not is_open(friday, at("2026-01-16T03:00+00:00"), None)
    assert closes_at(friday, at("2026-01-16T23:00+00:00"), None) == at("2026-01-17T04:00+00:00")


def test_a_start_needs_enough_time_before_the_end() -> None:
    windows = (nightly(),)
    late = at("2026-01-15T03:30+00:00")
    assert next_opening(windows, late, None, need_s=90 * 60) == late
    assert next_opening(windows, late, None, need_s=91 * 60) == at("2026-01-16T01:00+00:00")
    assert next_opening(windows, late, None, need_s=4 * HOUR_S + 1) is None


def test_windows_that_touch_are_one() -> None:
    windows = (nightly("01:00", 2), nightly("03:00", 2), nightly("04:00", 3))
    assert closes_at(windows, at("2026-01-15T01:30+00:00"), None) == at("2026-01-15T07:00+00:00")
    assert longest_opening(windows) == 6 * HOUR_S


def test_days_that_fill_the_week_never_close() -> None:
    windows = (nightly("00:00", 24),)
    assert closes_at(windows, at("2026-01-15T01:30+00:00"), None) is None
    assert longest_opening(windows) == HORIZON_DAYS * DAY_S
    weekdays = (nightly("00:00", 24, frozenset(range(5))),)
    assert longest_opening(weekdays) == 5 * DAY_S


def test_a_deny_wins_and_takes_whole_local_days_the_last_one_too() -> None:
    windows = (nightly("22:00", 6), denied("2026-12-20", "2027-01-02"))
    eve = at("2026-12-19T23:00+01:00")
    assert is_open(windows, eve, BERLIN)
    assert closes_at(windows, eve, BERLIN) == at("2026-12-20T00:00+01:00")
    assert next_opening(windows, eve, BERLIN, need_s=2 * HOUR_S) == at("2027-01-03T00:00+01:00")
    assert not is_open(windows, at("2027-01-02T23:59:59+01:00"), BERLIN)


def test_a_deny_alone_leaves_everything_else_open() -> None:
    windows = (denied("2026-12-20", "2026-12-20", "UTC"),)
    before = at("2026-12-01T00:00+00:00")
    assert next_opening(windows, before, BERLIN, need_s=DAY_S) == before
    assert closes_at(windows, before, BERLIN) == at("2026-12-20T00:00+00:00")
    assert closes_at(windows, at("2026-12-21T00:00+00:00"), BERLIN) is None


def test_a_deny_for_ever_never_opens() -> None:
    assert (
        next_opening((denied("1970-01-01", "9999-12-31"),), at("2026-01-01T00:00Z"), None) is None
    )


def test_many_openings_within_denied_days_are_passed_over_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = 0

    def counting(*arguments: Any, **more: Any) -> int:
        nonlocal asked
        asked += 1
        return instant(*arguments, **more)

    instant = windows_module._instant
    monkeypatch.setattr(windows_module, "_instant", counting)
    many = [Window(Allow(EVERY_DAY, minute, HOUR_S)) for minute in range(60, 122)]
    far = [denied("2026-01-01", "2026-12-19"), denied("2026-12-21", "2027-01-02")]
    january = at("2026-01-10T00:00+01:00")
    opening = next_opening([*many, *far], january, BERLIN, need_s=2 * HOUR_S)
    assert opening == at("2026-12-20T01:00+01:00")
    assert asked < 10 * len(many), "less than ten days were looked at"


def test_a_week_that_opens_at_the_end_of_what_is_looked_at_is_denied_as_well() -> None:
    windows = (nightly("12:00", 7 * 24, frozenset({2})), denied("2026-01-01", "2036-01-01"))
    for moment in range(at("2026-01-10T00:00Z"), at("2026-01-18T00:00Z"), DAY_S):
        assert next_opening(windows, moment, None) is None


def test_a_start_that_the_clock_skips_is_the_first_instant_after_the_gap() -> None:
    windows = (nightly("02:30", 2),)
    night = at("2026-03-29T00:00+01:00")
    opening = at("2026-03-29T03:00+02:00")
    assert next_opening(windows, night, BERLIN) == opening
    assert closes_at(windows, opening, BERLIN) == opening + 2 * HOUR_S


def test_a_start_that_comes_twice_is_the_first_one_and_the_length_is_real_time() -> None:
    windows = (nightly("02:30", 2),)
    night = at("2026-10-25T00:00+02:00")
    opening = at("2026-10-25T02:30+02:00")
    assert next_opening(windows, night, BERLIN) == opening
    assert closes_at(windows, opening, BERLIN) == at("2026-10-25T03:30+01:00")


def test_four_hours_are_four_hours_in_the_night_that_loses_one() -> None:
    windows = (nightly(),)
    opening = at("2026-03-29T01:00+01:00")
    assert closes_at(windows, opening, BERLIN) == at("2026-03-29T06:00+02:00")


def test_half_an_hour_of_lord_howe() -> None:
    windows = (nightly("02:10", 1),)
    assert next_opening(windows, at("2026-10-04T00:00+10:30"), "Australia/Lord_Howe") == at(
        "2026-10-04T02:30+11:00"
    )


def test_the_day_that_samoa_never_had_is_denied_without_a_moment() -> None:
    windows = (denied("2011-12-30", "2011-12-30"),)
    eve = at("2011-12-29T23:59-10:00")
    assert closes_at(windows, eve, "Pacific/Apia") is None
    both = (denied("2011-12-29", "2011-12-30"),)
    assert next_opening(both, eve, "Pacific/Apia") == at("2011-12-31T00:00+14:00")


def test_a_zone_that_is_not_known_is_said_by_name() -> None:
    for name in ("Mars/Olympus", "../etc/passwd", "Europe", ""):
        with pytest.raises(ValueError, match="is not known here"):
            zone_named(name)
    with pytest.raises(ValueError, match="Mars/Olympus"):
        is_open((nightly(),), 0, "Mars/Olympus")


def test_a_stored_zone_that_is_known_no_more_never_opens() -> None:
    assert opening_if_known((nightly(),), 0, "Mars/Olympus", 1) is None
    assert opening_if_known((nightly(),), 0, None, 1) == HOUR_S


def test_utc_is_known_without_any_zone_data() -> None:
    assert zone_named("UTC") is UTC


def test_an_install_needs_its_limit_and_all_that_its_checks_may_take() -> None:
    checks = ({"delay": 5, "timeout": 60}, {"delay": 0, "timeout": 10})
    assert install_need_s(600, checks) == 675


# The oracle.


def exists_from(wall: datetime, zone: tzinfo | None) -> datetime:
    """A local time, or where the clock skips it the first one after."""
    while not tz.datetime_exists(wall, zone):
        wall += timedelta(minutes=1)
    return wall


def oracle_is_open(windows: list[Window], moment: int, device_zone: str) -> bool:
    allows = [window for window in windows if isinstance(window.rule, Allow)]
    is_allowed = not allows or any(_oracle_allows(each, moment, device_zone) for each in allows)
    return is_allowed and not any(_oracle_denies(each, moment, device_zone) for each in windows)


def _oracle_allows(window: Window, moment: int, device_zone: str) -> bool:
    rule, zone = window.rule, tz.gettz(window.zone or device_zone)
    assert isinstance(rule, Allow)
    today = datetime.fromtimestamp(moment, zone).replace(tzinfo=None, hour=0, minute=0, second=0)
    starts = rrule.rrule(
        rrule.DAILY,
        dtstart=today - timedelta(seconds=rule.length_s) - timedelta(days=2),
        until=today + timedelta(days=2),
        byweekday=sorted(rule.days),
        byhour=rule.start_minute // 60,
        byminute=rule.start_minute % 60,
        bysecond=0,
    )
    for wall in starts:
        begin = exists_from(wall, zone).replace(tzinfo=zone, fold=0).astimezone(tz.UTC)
        if begin.timestamp() <= moment < begin.timestamp() + rule.length_s:
            return True
    return False


def _oracle_denies(window: Window, moment: int, device_zone: str) -> bool:
    if not isinstance(window.rule, Deny):
        return False
    today = datetime.fromtimestamp(moment, tz.gettz(window.zone or device_zone)).date()
    return window.rule.first <= today <= window.rule.last


MOMENTS = st.one_of(
    # Around every change of the clocks that the zones above have.
    st.sampled_from(
        [
            "2026-03-29T01:00Z",
            "2026-10-25T01:00Z",
            "2026-03-08T07:00Z",
            "2026-11-01T06:00Z",
            "2026-10-03T15:30Z",
            "2026-04-04T15:00Z",
            "2011-12-30T10:00Z",
            "2011-04-02T14:00Z",
            "2020-09-26T14:00Z",
        ]
    ).flatmap(lambda text: st.integers(at(text) - 2 * DAY_S, at(text) + 2 * DAY_S)),
    st.integers(at("2010-01-01T00:00Z"), at("2035-01-01T00:00Z")),
)
ALLOWS = st.builds(
    Allow,
    st.frozensets(st.integers(0, 6), min_size=1),
    st.integers(0, 24 * 60 - 1) | st.integers(0, 4 * 60),
    st.integers(1, 7 * DAY_S) | st.integers(1, 8).map(lambda hours: hours * HOUR_S),
)


@st.composite
def cases(draw: st.DrawFn) -> tuple[list[Window], int, str]:
    moment = draw(MOMENTS)
    day = datetime.fromtimestamp(moment, UTC).date()
    denies = st.builds(
        lambda back, days: Deny(
            day + timedelta(days=back), day + timedelta(days=back) + timedelta(days=days)
        ),
        st.integers(-4, 10),
        st.integers(0, 4),
    )
    windows = st.builds(Window, ALLOWS | denies, st.none() | st.sampled_from(ZONES))
    return draw(st.lists(windows, max_size=4)), moment, draw(st.sampled_from(ZONES))


@given(cases())
@example(([nightly("02:30", 2)], at("2026-10-25T01:30Z"), BERLIN))
@example(([denied("2026-03-29", "2026-03-29")], at("2026-03-28T23:00Z"), BERLIN))
def test_an_instant_is_open_where_dateutil_says_so(case: tuple[list[Window], int, str]) -> None:
    windows, moment, zone = case
    assert is_open(windows, moment, zone) is oracle_is_open(windows, moment, zone)


@given(cases())
def test_it_stays_open_until_it_closes_and_is_closed_then(
    case: tuple[list[Window], int, str],
) -> None:
    windows, moment, zone = case
    closing = closes_at(windows, moment, zone)
    if closing is None:
        closing = moment + 30 * DAY_S
    elif closing > moment:
        assert oracle_is_open(windows, closing - 1, zone)
        assert not oracle_is_open(windows, closing, zone)
    for step in range(moment, closing, max(1, (closing - moment) // 20)):
        assert oracle_is_open(windows, step, zone)


@given(cases(), st.integers(0, 12 * HOUR_S))
def test_the_next_opening_is_the_first_that_holds_what_is_needed(
    case: tuple[list[Window], int, str], need_s: int
) -> None:
    windows, moment, zone = case
    opening = next_opening(windows, moment, zone, need_s)
    end = moment + 12 * DAY_S if opening is None else opening
    if opening is not None:
        closing = closes_at(windows, opening, zone)
        assert oracle_is_open(windows, opening, zone)
        assert closing is None or closing - opening >= need_s
    for earlier in range(moment, end, max(61, (end - moment) // 40)):
        closing = closes_at(windows, earlier, zone)
        assert closing is not None
        assert closing - earlier < max(need_s, 1)
