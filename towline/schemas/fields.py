"""Typed access to the fields of a parsed JSON object.

Every document of this room reads its fields through these, so that a missing or wrongly typed
field is always a Refused with the field's name and never a KeyError.
"""

import re
from collections.abc import Mapping
from typing import Any, TypeVar

from towline.schemas.identifiers import is_id
from towline.schemas.problems import Refused

_T = TypeVar("_T")
MOST = 2**63 - 1
"""What every store and every wire can hold."""
MOST_32 = 2**31 - 1
"""The same for what is small: a count of attempts, a percentage."""
DEEPEST = 16
"""Levels of what a device tells of itself: what reads JSON gives up at some hundreds, for all."""
_HEX64 = re.compile(r"[0-9a-f]{64}")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f]")
"""All below a space but tab and line feed."""


def _typed(source: Mapping[str, Any], name: str, kind: type[_T]) -> _T:
    value = source.get(name)
    if not isinstance(value, kind):
        raise Refused("bad-field", name)
    return value


def text(source: Mapping[str, Any], name: str, *, limit: int = 4096) -> str:
    """A string of at most `limit` characters without control characters."""
    value = source.get(name)
    if not isinstance(value, str) or len(value) > limit or _CONTROL.search(value) is not None:
        raise Refused("bad-field", name)
    return value


def line(source: Mapping[str, Any], name: str, *, limit: int = 4096) -> str:
    """A text of one line that prints: it may stand in a log, a variable or a file's name."""
    value = text(source, name, limit=limit)
    if not value.isprintable():
        raise Refused("bad-field", name)
    return value


def identifier(source: Mapping[str, Any], name: str) -> str:
    """An id of the grammar."""
    value = source.get(name)
    if not is_id(value):
        raise Refused("bad-field", name)
    return str(value)


def whole(source: Mapping[str, Any], name: str, *, least: int = 0, most: int = MOST) -> int:
    """A whole number (a bool is none) from `least` to `most`."""
    value = source.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise Refused("bad-field", name)
    return value


def digest(source: Mapping[str, Any], name: str) -> str:
    """64 lower-case hex digits."""
    value = source.get(name)
    if not isinstance(value, str) or _HEX64.fullmatch(value) is None:
        raise Refused("bad-field", name)
    return value


def mapping(source: Mapping[str, Any], name: str) -> dict[str, Any]:
    """An object."""
    return _typed(source, name, dict)


def storable(source: Mapping[str, Any], name: str) -> dict[str, Any]:
    """An object that every store can hold and every reader of it can read again.

    No text in it has a NUL, no whole number more than 64 bits, and it is no deeper than `DEEPEST`.
    """
    value = mapping(source, name)
    if not _is_storable(value):
        raise Refused("bad-field", name)
    return value


def _is_storable(value: Any) -> bool:
    level = [value]
    for _ in range(DEEPEST):
        below: list[Any] = []
        for each in level:
            if isinstance(each, str):
                if "\0" in each:
                    return False
            elif isinstance(each, int):
                if not -MOST <= each <= MOST:
                    return False
            elif isinstance(each, dict):
                below += each
                below += each.values()
            elif isinstance(each, list):
                below += each
        if not below:
            return True
        level = below
    return False


def sequence(source: Mapping[str, Any], name: str) -> list[Any]:
    """A list."""
    return _typed(source, name, list)


def texts(source: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """A list of strings."""
    values = sequence(source, name)
    if not all(isinstance(value, str) for value in values):
        raise Refused("bad-field", name)
    return tuple(values)


def optional_text(source: Mapping[str, Any], name: str, *, limit: int = 4096) -> str | None:
    """A string, or None when the field is absent or null."""
    return None if source.get(name) is None else text(source, name, limit=limit)
