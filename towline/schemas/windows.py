"""When an installation may start: values shared by manifests, server and device."""

from dataclasses import dataclass
from datetime import date


@dataclass(frozen=True, slots=True)
class Allow:
    """Hours in which an installation may start; days count from Monday = 0."""

    days: frozenset[int]
    start_minute: int
    length_s: int


@dataclass(frozen=True, slots=True)
class Deny:
    """Whole local days, the last one included."""

    first: date
    last: date


@dataclass(frozen=True, slots=True)
class Window:
    """An allow or a deny, in a zone of its own or in the device's."""

    rule: Allow | Deny
    zone: str | None = None
    reason: str = ""
