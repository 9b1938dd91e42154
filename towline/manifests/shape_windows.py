"""The shapes of windows: hours in which an installation may start, days on which none may."""

from collections.abc import Callable
from datetime import date
from typing import Annotated, Any, Self, TypeVar

from pydantic import Field, model_validator

from towline.manifests.shape_base import Shape, Words, wrong
from towline.manifests.shape_words import DURATION, Line, seconds_above_zero, text_of, time_text
from towline.schemas.window_words import days_named, minute_named
from towline.schemas.windows import LENGTH_LIMIT_S, zone_named

_Read = TypeVar("_Read")


def _worded(what: str, read: Callable[[str], _Read]) -> Callable[[Any], _Read]:
    """Text read by the grammar that manifests and documents share."""

    def reader(value: Any) -> _Read:
        text = text_of(value, what)
        try:
            return read(text)
        except ValueError as error:
            message, _, remedy = str(error).partition(": ")
            raise wrong(message, remedy) from None

    return reader


def _length(value: Any) -> int:
    seconds = seconds_above_zero(value)
    if seconds > LENGTH_LIMIT_S:
        raise wrong("a window longer than a week overlaps itself", "write at most 7d")
    return seconds


def _day(value: Any) -> date:
    text = time_text(value, "a date")
    try:
        if len(text) == len("2026-12-20"):
            return date.fromisoformat(text)
    except ValueError:
        pass
    raise wrong(f"{text} is no date", "write year, month and day: 2026-12-20")


def _zone(value: Any) -> str:
    name = text_of(value, "a time zone")
    try:
        zone_named(name)
    except ValueError:
        remedy = "write an IANA name such as Europe/Berlin, or UTC; without it the device's counts"
        raise wrong(f"no time zone has the name {name}", remedy) from None
    return name


_DATE = {"type": "string", "format": "date"}
Day = Annotated[date, Words(_day, _DATE)]


class AllowShape(Shape):
    """Days and hours in which an installation may start."""

    days: Annotated[frozenset[int], Words(_worded("days", days_named), {"type": "string"})]
    start: Annotated[
        int,
        Words(
            _worded("a time of day", minute_named),
            {"type": "string", "pattern": "^([01][0-9]|2[0-3]):[0-5][0-9]$"},
        ),
    ]
    length: Annotated[int, Words(_length, DURATION)]


class DenyShape(Shape):
    """Days on which none may start, both included."""

    from_: Day = Field(alias="from")
    to: Day

    @model_validator(mode="after")
    def _is_in_order(self) -> Self:
        if self.to < self.from_:
            message = f"the window ends on {self.to}, before it begins on {self.from_}"
            raise wrong(message, "swap `from` and `to`", ("to",))
        return self


class WindowShape(Shape):
    """When an installation may start; deny wins."""

    allow: AllowShape | None = None
    deny: DenyShape | None = None
    time_zone: Annotated[str | None, Words(_zone, {"type": "string", "maxLength": 64})] = None
    reason: Line | None = None

    @model_validator(mode="after")
    def _is_one_rule(self) -> Self:
        if self.allow and self.deny:
            remedy = "write them as two windows"
            raise wrong("`allow` and `deny` both stand here", remedy, ("deny",))
        if not self.allow and not self.deny:
            remedy = 'add allow: {days: Mon-Fri, start: "01:00", length: 4h}, or deny'
            raise wrong("the window neither allows nor denies", remedy)
        return self


def only_denies(windows: list[WindowShape]) -> list[WindowShape]:
    """Refuses an allow: a Freeze closes days, and hours belong to a Deployment."""
    for at, window in enumerate(windows):
        if window.allow:
            remedy = "write deny: {from: 2026-12-20, to: 2027-01-02}"
            raise wrong("a Freeze only denies", remedy, (at, "allow"))
    return windows
