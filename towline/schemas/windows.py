"""When an install may start: times that allow, whole days that deny. Pure; time is passed in.

No allow at all means always; several allows are a union, and a deny wins over all of them. Times
of day are local: of the window's own zone, else of the device's, else UTC. Lengths are real time:
an hour is an hour also in the night in which the clocks change. `window_words` reads and writes.
"""

import heapq
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

DAY_S = 86400
LENGTH_LIMIT_S = 7 * DAY_S
"""A longer allow would overlap itself from week to week."""
WINDOWS_LIMIT = 64
HORIZON_DAYS = 400
"""How far ahead an opening or an end is looked for: every week and every change of the clocks."""
_REFERENCE = int(datetime(2024, 1, 1, tzinfo=UTC).timestamp())

Span = tuple[int, int]
"""From, and to (exclusive), in seconds since the epoch."""


@dataclass(frozen=True, slots=True)
class Allow:
    """Open on these days of the week from this time of day on, for this long."""

    days: frozenset[int]
    """0 = Monday; the day on which it opens."""
    start_minute: int
    """Minutes after midnight by the wall clock. In the gap of a change of the clocks: the first
    instant after it; where the time comes twice: the first one."""
    length_s: int
    """Real time, at most LENGTH_LIMIT_S; it may go on into the next days."""


@dataclass(frozen=True, slots=True)
class Deny:
    """Closed on these whole local days, both included."""

    first: date
    last: date


@dataclass(frozen=True, slots=True)
class Window:
    """One entry of `windows`."""

    rule: Allow | Deny
    zone: str | None = None
    """An IANA name; None = the device's."""
    reason: str = ""
    """For people."""


def zone_named(name: str) -> tzinfo:
    """The time zone of an IANA name; raises ValueError for one that this machine does not know.

    Zones come from the system's tzdata; without it only UTC is known.
    """
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError(f"the time zone {name!r} is not known here") from None


def is_zone(name: str) -> bool:
    """Whether `zone_named` knows it."""
    try:
        zone_named(name)
    except ValueError:
        return False
    return True


def install_need_s(install_timeout_s: int, health: Iterable[Mapping[str, Any]]) -> int:
    """How long an install may take at most, its health checks (`delay`, `timeout`) included."""
    return install_timeout_s + sum(int(check["delay"]) + int(check["timeout"]) for check in health)


def is_open(windows: Sequence[Window], at: int, device_zone: str | None) -> bool:
    """Whether `at` lies in a window; raises ValueError for an unknown zone, as all of these do."""
    return any(begin <= at < end for begin, end in _spans(windows, at, device_zone, 1))


def closes_at(windows: Sequence[Window], at: int, device_zone: str | None) -> int | None:
    """When the window that is open at `at` closes; `at` itself when none is, None for never."""
    closing = at
    for begin, end in _spans(windows, at, device_zone, HORIZON_DAYS):
        if begin > closing:
            break
        closing = max(closing, end)
    return closing if closing < at + HORIZON_DAYS * DAY_S else None


def next_opening(
    windows: Sequence[Window], at: int, device_zone: str | None, need_s: int = 0
) -> int | None:
    """The first time from `at` on when something that needs `need_s` may start.

    None when there is none within HORIZON_DAYS.
    """
    start = closing = at
    for begin, end in _spans(windows, at, device_zone, HORIZON_DAYS):
        if begin > closing:
            start = begin
        closing = max(closing, end)
        if closing > start and closing - start >= need_s:
            return start
    return None


def opening_if_known(
    windows: Sequence[Window], at: int, device_zone: str | None, need_s: int
) -> int | None:
    """As `next_opening`, but None also where a zone is not known here: nothing opens there.

    For zones that are stored: a later tzdata may drop a name.
    """
    try:
        return next_opening(windows, at, device_zone, need_s)
    except ValueError:
        return None


def is_denied(windows: Sequence[Window], at: int, device_zone: str | None) -> Window | None:
    """The window that denies `at`, if one does."""
    for window in windows:
        if isinstance(window.rule, Deny):
            begin, end = _denied(window.rule, _zone(window, device_zone), at, at)
            if begin <= at < end:
                return window
    return None


def longest_opening(windows: Sequence[Window]) -> int:
    """The longest time in seconds that the allows are ever open at a stretch, denies aside.

    HORIZON_DAYS when they are always open. What needs more could never start.
    """
    allows = [window for window in windows if isinstance(window.rule, Allow)]
    spans = _joined(_spans(allows, _REFERENCE, None, HORIZON_DAYS))
    return min(HORIZON_DAYS * DAY_S, max((end - begin for begin, end in spans), default=0))


def _zone(window: Window, device_zone: str | None) -> tzinfo:
    return zone_named(window.zone or device_zone or "UTC")


def _spans(
    windows: Sequence[Window], at: int, device_zone: str | None, days: int
) -> Iterator[Span]:
    """What is open around `at` and `days` ahead: what touches or overlaps is not joined.

    One at a time, since nearly always the first few answer. They come in order, but for a piece
    behind denied days, which comes before others that lie in what was open before those days.
    """
    horizon = at + days * DAY_S
    zoned = [(window.rule, _zone(window, device_zone)) for window in windows]
    found = (_denied(rule, zone, at, horizon) for rule, zone in zoned if isinstance(rule, Deny))
    denied = _joined(span for span in found if span[0] < span[1])
    allows = [
        _allowed(rule, zone, at, horizon, denied) for rule, zone in zoned if isinstance(rule, Allow)
    ]
    for span in heapq.merge(*allows) if allows else [(at - DAY_S, horizon + DAY_S)]:
        yield from _without(span, denied)


def _allowed(
    rule: Allow, zone: tzinfo, at: int, horizon: int, denied: Sequence[Span]
) -> Iterator[Span]:
    """Every opening that may still be open at `at`, to those that begin at `horizon`, in order.

    Denied days are passed over at once.
    """
    day = _local_day(at - rule.length_s, zone) - timedelta(days=1)
    last = _local_day(horizon, zone) + timedelta(days=1)
    while day <= last:
        following = day + timedelta(days=1)
        if day.weekday() in rule.days:
            begin = _instant(day, rule.start_minute, zone)
            end = begin + rule.length_s
            if around := next((span for span in denied if _holds(span, begin, end)), None):
                behind = _local_day(around[1] - rule.length_s, zone)
                following = max(following, behind - timedelta(days=1))
            else:
                yield begin, end
        day = following


def _holds(span: Span, begin: int, end: int) -> bool:
    return span[0] <= begin and end <= span[1]


def _denied(rule: Deny, zone: tzinfo, at: int, horizon: int) -> Span:
    """The denied days as one span, as far as it matters: to the end of what opens at `horizon`."""
    first = max(rule.first, _local_day(at, zone) - timedelta(days=2))
    last = min(rule.last, _local_day(horizon + LENGTH_LIMIT_S, zone) + timedelta(days=3))
    if last < first:
        return at, at
    after = last + timedelta(days=1)
    return _instant(first, 0, zone), _instant(after, 0, zone, is_last=True)


def _local_day(at: int, zone: tzinfo) -> date:
    return datetime.fromtimestamp(at, zone).date()


def _instant(day: date, minute: int, zone: tzinfo, *, is_last: bool = False) -> int:
    """When the wall clock shows this; `is_last` = the second time where it comes twice."""
    wall = datetime(day.year, day.month, day.day, minute // 60, minute % 60, tzinfo=zone)
    before, after = int(wall.timestamp()), int(wall.replace(fold=1).timestamp())
    # PEP 495: in a gap fold 0 takes the offset of before, so that the order is the other way round.
    if after < before:
        return _end_of_gap(after, before, zone)
    return after if is_last else before


def _end_of_gap(low: int, high: int, zone: tzinfo) -> int:
    """The first instant of the new offset; at `low` the old one holds, at `high` the new one."""
    new = datetime.fromtimestamp(high, zone).utcoffset()
    while high - low > 1:
        middle = (low + high) // 2
        if datetime.fromtimestamp(middle, zone).utcoffset() == new:
            high = middle
        else:
            low = middle
    return high


def _joined(spans: Iterable[Span]) -> list[Span]:
    joined: list[Span] = []
    for begin, end in sorted(spans):
        if joined and begin <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], end))
        else:
            joined.append((begin, end))
    return joined


def _without(span: Span, denied: Sequence[Span]) -> Iterator[Span]:
    """What the denied spans, which are joined, leave of a span."""
    begin, end = span
    for first, last in denied:
        if begin < last and first < end:
            if begin < first:
                yield begin, first
            begin = last
    if begin < end:
        yield begin, end
