"""Versions: equality is exact text, order is semver's, and what is not semver is opaque.

Pure rules over text (the manual, section "Versions"). What a missing version or an opaque one
means for a device is said in `filters`.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from operator import ge, gt, le, lt

_IDENTIFIERS = r"[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*"
_SEMVER = re.compile(
    r"v?(?P<numbers>(?:0|[1-9][0-9]*)(?:\.(?:0|[1-9][0-9]*)){0,3})"
    rf"(?:-(?P<pre>{_IDENTIFIERS}))?(?:\+{_IDENTIFIERS})?"
)
_TERM = re.compile(r"(==|!=|<=|>=|=|<|>)\s*([^\s<>=!,]+)")
_ORDERS: dict[str, Callable[["Precedence", "Precedence"], bool]] = {
    "<": lt,
    "<=": le,
    ">": gt,
    ">=": ge,
}
_MAX_LENGTH = 100
"""Characters: the contract's column `target_version`."""

Precedence = tuple[tuple[int, ...], bool, tuple[tuple[bool, int, str], ...]]


class NotComparable(Exception):
    """An order was asked of a version that is not semver."""

    def __init__(self, version: str) -> None:
        super().__init__(f"{version!r} is not a semantic version, so it has no order")
        self.version = version


def precedence(version: str) -> Precedence:
    """The sort key of a version; raises NotComparable.

    Semver 2.0, section 11, with one leading `v` stripped, one to four numbers (missing ones
    are 0) and build metadata ignored.
    """
    found = _SEMVER.fullmatch(version) if len(version) <= _MAX_LENGTH else None
    if found is None:
        raise NotComparable(version)
    numbers = [int(part) for part in found["numbers"].split(".")]
    padded = tuple(numbers + [0] * (4 - len(numbers)))
    if found["pre"] is None:
        return padded, True, ()
    identifiers = found["pre"].split(".")
    if any(part.isdigit() and part[0] == "0" and part != "0" for part in identifiers):
        raise NotComparable(version)
    return padded, False, tuple(_identifier(part) for part in identifiers)


def _identifier(part: str) -> tuple[bool, int, str]:
    """Numeric identifiers come before others and are ordered as numbers."""
    return (False, int(part), "") if part.isdigit() else (True, 0, part)


def is_newer(version: str, than: str) -> bool:
    """True when `version` comes after `than`; raises NotComparable when either is opaque."""
    return precedence(version) > precedence(than)


@dataclass(frozen=True, slots=True)
class Term:
    """One comparison of a range."""

    operator: str
    """One of = != < <= > >=."""
    version: str

    def matches(self, version: str) -> bool:
        """Raises NotComparable when an order is asked of an opaque version."""
        if self.operator == "=":
            return version == self.version
        if self.operator == "!=":
            return version != self.version
        return _ORDERS[self.operator](precedence(version), precedence(self.version))


@dataclass(frozen=True, slots=True)
class Range:
    """Terms that all hold: ">=2.0, !=2.4.1". `str()` gives its one canonical text."""

    terms: tuple[Term, ...]

    @classmethod
    def parse(cls, text: str) -> "Range":
        """Raises ValueError, with a sentence for people, on anything but a list of terms."""
        return cls(tuple(_term(part.strip()) for part in text.split(",")))

    def __str__(self) -> str:
        return ",".join(f"{term.operator}{term.version}" for term in self.terms)

    def matches(self, version: str) -> bool:
        """Raises NotComparable when the exact terms hold and the others cannot be told."""
        exact = [term for term in self.terms if term.operator not in _ORDERS]
        ordered = [term for term in self.terms if term.operator in _ORDERS]
        return all(term.matches(version) for term in exact + ordered)


def _term(text: str) -> Term:
    found = _TERM.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is not a comparison such as >=2.0")
    operator, version = found[1].replace("==", "="), found[2]
    if operator in _ORDERS:
        try:
            precedence(version)
        except NotComparable as opaque:
            raise ValueError(f"{opaque}; only = and != work on it") from None
    return Term(operator, version)
