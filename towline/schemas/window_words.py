"""Windows as people and documents write them: `Mon-Fri`, `01:00`, `{allow: …}`, `{deny: …}`.

The words are one grammar for the manifest and for the wire. `parse` reads what is already signed
and raises Refused; the readers of single words raise ValueError with what to write instead.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any

from towline.schemas import fields
from towline.schemas.problems import Refused
from towline.schemas.windows import (
    LENGTH_LIMIT_S,
    WINDOWS_LIMIT,
    Allow,
    Deny,
    Window,
    is_denied,
    is_open,
    zone_named,
)

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_EVERY_DAY = frozenset(range(7))
_TIME = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def days_named(text: str) -> frozenset[int]:
    """`Mon-Fri`, `Sat,Sun`, `Fri-Mon`, `daily` -> days of the week, 0 = Monday.

    Raises ValueError.
    """
    if text == "daily":
        return _EVERY_DAY
    found: set[int] = set()
    for part in text.split(","):
        names = part.strip().split("-")
        if len(names) > 2 or any(name not in DAYS for name in names):
            raise ValueError(f"{text!r} names no days: write Mon-Fri, Sat,Sun, Mon or daily")
        first, last = DAYS.index(names[0]), DAYS.index(names[-1])
        found.update((first + step) % 7 for step in range((last - first) % 7 + 1))
    return frozenset(found)


def days_text(days: frozenset[int]) -> str:
    """The shortest words for these days, as `days_named` reads them."""
    if days == _EVERY_DAY:
        return "daily"
    parts = []
    for first in sorted(day for day in days if (day - 1) % 7 not in days):
        last = first
        while (last + 1) % 7 in days:
            last = (last + 1) % 7
        count = (last - first) % 7 + 1
        names = (DAYS[first],) if count == 1 else (DAYS[first], DAYS[last])
        parts.append(("," if count == 2 else "-").join(names))
    return ",".join(parts)


def minute_named(text: str) -> int:
    """`01:30` -> 90 minutes after midnight; raises ValueError."""
    found = _TIME.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no time of day: write HH:MM, 00:00 to 23:59")
    return int(found[1]) * 60 + int(found[2])


def minute_text(minute: int) -> str:
    """90 -> `01:30`."""
    return f"{minute // 60:02}:{minute % 60:02}"


def local_text(at: int, device_zone: str | None) -> str:
    """A time for people, by the device's clock: `Tue 2026-03-10 01:00 Europe/Berlin`."""
    name = device_zone or "UTC"
    try:
        zone = zone_named(name)
    except ValueError:
        name, zone = "UTC", UTC
    shown = datetime.fromtimestamp(at, zone)
    return f"{DAYS[shown.weekday()]} {shown:%Y-%m-%d %H:%M} {name}"


def why_closed(windows: Sequence[Window], at: int, device_zone: str | None) -> str:
    """Why nothing may start at `at`, for people; empty when it may. Raises ValueError."""
    if is_open(windows, at, device_zone):
        return ""
    if denied := is_denied(windows, at, device_zone):
        return _shown(denied, device_zone)
    allows = [window for window in windows if isinstance(window.rule, Allow)]
    return "only " + " or ".join(_shown(window, device_zone) for window in allows)


def _shown(window: Window, device_zone: str | None) -> str:
    rule, zone = window.rule, window.zone or device_zone or "UTC"
    if isinstance(rule, Deny):
        days = f"not {rule.first} to {rule.last} ({zone})"
        return f"{window.reason}: {days}" if window.reason else days
    length = f"{rule.length_s // 3600} h {rule.length_s % 3600 // 60} min"
    start = minute_text(rule.start_minute)
    return f"{days_text(rule.days)} from {start} for {length.replace(' 0 min', '')} ({zone})"


def document(window: Window) -> dict[str, Any]:
    """A window as documents carry it; what is not set is left out."""
    rule = window.rule
    if isinstance(rule, Allow):
        start = minute_text(rule.start_minute)
        allow = {"days": days_text(rule.days), "start": start, "length": rule.length_s}
        found: dict[str, Any] = {"allow": allow}
    else:
        found = {"deny": {"from": rule.first.isoformat(), "to": rule.last.isoformat()}}
    if window.zone:
        found["timeZone"] = window.zone
    if window.reason:
        found["reason"] = window.reason
    return found


def parse(documents: Any) -> tuple[Window, ...]:
    """Windows from their list; raises Refused `bad-field`.

    A zone is not looked up: whether this machine knows it is asked when it is used.
    """
    if not isinstance(documents, list) or len(documents) > WINDOWS_LIMIT:
        raise Refused("bad-field", "windows")
    return tuple(_window(each) for each in documents)


def _window(found: Any) -> Window:
    if not isinstance(found, dict) or ("allow" in found) is ("deny" in found):
        raise Refused("bad-field", "windows")
    rule = (
        _allow(fields.mapping(found, "allow"))
        if "allow" in found
        else _deny(fields.mapping(found, "deny"))
    )
    return Window(
        rule,
        fields.optional_text(found, "timeZone", limit=64),
        fields.optional_text(found, "reason", limit=255) or "",
    )


def _allow(found: Mapping[str, Any]) -> Allow:
    length_s = fields.whole(found, "length", least=1, most=LENGTH_LIMIT_S)
    days, start = (fields.text(found, name, limit=64) for name in ("days", "start"))
    try:
        return Allow(days_named(days), minute_named(start), length_s)
    except ValueError:
        raise Refused("bad-field", "allow") from None


def _deny(found: Mapping[str, Any]) -> Deny:
    first, last = (_date(found, name) for name in ("from", "to"))
    if last < first:
        raise Refused("bad-field", "to")
    return Deny(first, last)


def _date(found: Mapping[str, Any], name: str) -> date:
    text = fields.text(found, name, limit=10)
    try:
        if _DATE.fullmatch(text):
            return date.fromisoformat(text)
    except ValueError:
        pass
    raise Refused("bad-field", name)
