"""Windows in as few bytes as a device's document has room for, without opening what is closed.

They give way by steps: as they are, with denied days joined and reasons cut, without reasons. What
is too much even then denies everything, because a document that a device refuses helps nobody.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import date, timedelta

from towline.schemas import strict_json, window_words
from towline.schemas.windows import WINDOWS_LIMIT, Deny, Window

WINDOWS_BYTES = 8 * 1024
"""Of one component: all 64 windows fit with time zones and without reasons."""
REASON_LETTERS = 60

Windows = tuple[Window, ...]

_NEVER = (Window(Deny(date.min, date.max), reason="too many windows and freezes apply"),)


def bounded(windows: Windows) -> Windows:
    """At most WINDOWS_LIMIT windows and WINDOWS_BYTES that allow nothing more than these."""
    steps: tuple[Callable[[Windows], Windows], ...] = (tuple, _joined, _without_reasons)
    return next((form for step in steps if _fits(form := step(windows))), _NEVER)


def _fits(windows: Windows) -> bool:
    size = len(strict_json.canonical([window_words.document(each) for each in windows]))
    return len(windows) <= WINDOWS_LIMIT and size <= WINDOWS_BYTES


def _without_reasons(windows: Windows) -> Windows:
    return _joined(tuple(replace(each, reason="") for each in windows))


def _joined(windows: Windows) -> Windows:
    """Each allow once, and the denied days of a time zone in as few windows as can be."""
    short = [replace(each, reason=each.reason[:REASON_LETTERS]) for each in windows]
    allows = dict.fromkeys(each for each in short if not isinstance(each.rule, Deny))
    zones = dict.fromkeys(each.zone for each in short)
    return (*allows, *(each for zone in zones for each in _denied(short, zone)))


def _denied(windows: Iterable[Window], zone: str | None) -> Sequence[Window]:
    rules = {
        (each.rule.first, each.rule.last, each.reason)
        for each in windows
        if isinstance(each.rule, Deny) and each.zone == zone
    }
    found: list[Window] = []
    end = date.min
    for first, last, reason in sorted(rules):
        if found and (first <= end or first - timedelta(days=1) == end):
            former = found[-1]
            assert isinstance(former.rule, Deny)
            end = max(end, last)
            rule, said = Deny(former.rule.first, end), former.reason or reason
            found[-1] = replace(former, rule=rule, reason=said)
        else:
            end = last
            found.append(Window(Deny(first, last), zone, reason))
    return found
