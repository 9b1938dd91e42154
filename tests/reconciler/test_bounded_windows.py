"""Windows that are too many or too wordy: nothing may start when it might not before."""

from datetime import UTC, date, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from towline.reconciler.bounded_windows import WINDOWS_BYTES, bounded
from towline.schemas import strict_json, window_words
from towline.schemas.windows import WINDOWS_LIMIT, Allow, Deny, Window, is_open

FIRST = date(2027, 1, 1)
NIGHT = Window(Allow(frozenset(range(7)), 60, 4 * 3600))
ZONES = st.sampled_from([None, "Europe/Berlin", "America/New_York"])


def days(first: int, last: int, reason: str = "", zone: str | None = None) -> Window:
    return Window(Deny(FIRST + timedelta(first), FIRST + timedelta(last)), zone, reason)


def test_what_has_room_stays_as_it_is() -> None:
    windows = (NIGHT, days(0, 3, "r" * 255), days(2, 9, "holidays"))
    assert bounded(windows) == windows


def test_days_that_touch_are_denied_by_one_window() -> None:
    windows = tuple(days(n, n, "stocktaking") for n in range(WINDOWS_LIMIT + 1))
    assert bounded(windows) == (days(0, WINDOWS_LIMIT, "stocktaking"),)


def test_reasons_are_cut_and_then_left_out_for_want_of_room() -> None:
    cut = bounded(tuple(days(2 * n, 2 * n, "r" * 255) for n in range(30)))
    assert {each.reason for each in cut} == {"r" * 60}
    many = [days(2 * n, 2 * n, "r" * 255, "Europe/Berlin") for n in range(WINDOWS_LIMIT)]
    left_out = bounded(tuple(many))
    assert {each.reason for each in left_out} == {""}
    assert len(left_out) == WINDOWS_LIMIT


def test_too_many_deny_everything() -> None:
    (never,) = bounded(tuple(days(2 * n, 2 * n) for n in range(WINDOWS_LIMIT + 1)))
    assert never.rule == Deny(date.min, date.max)


@given(
    st.lists(
        st.builds(
            lambda first, length, reason, zone: days(first, first + length, reason * 200, zone),
            st.integers(0, 60),
            st.integers(0, 5),
            st.sampled_from("ab"),
            ZONES,
        ),
        min_size=30,
        max_size=90,
    ),
    st.lists(st.integers(0, 70 * 24), min_size=5, max_size=5),
)
@settings(max_examples=40)
def test_bounded_windows_close_exactly_what_was_closed(
    windows: list[Window], hours: list[int]
) -> None:
    found = bounded((NIGHT, *windows))
    written = [window_words.document(each) for each in found]
    assert len(strict_json.canonical(written)) <= WINDOWS_BYTES
    assert window_words.parse(written) == found
    never = len(found) == 1
    begin = int(datetime(2027, 1, 1, tzinfo=UTC).timestamp())
    for hour in hours:
        at = begin + 3600 * hour
        was_open = is_open((NIGHT, *windows), at, "Asia/Tokyo")
        assert is_open(found, at, "Asia/Tokyo") is (was_open and not never)
