"""Errors for the person who meets them: what failed, where, why, what to do now.

Two roots, because callers react in two ways: a `Problem` is shown to a person as it stands;
a `Refused` carries a code that a machine reports and counts.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a file something stands; lines and columns count from 1."""

    file: str
    line: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        return ":".join(str(part) for part in (self.file, self.line, self.column) if part)


class Problem(Exception):
    """Something that a person must know: `what` failed and why, `remedy` says what to do now."""

    def __init__(self, what: str, *, remedy: str = "", place: Place | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.remedy = remedy
        self.place = place

    def __str__(self) -> str:
        where = f"{self.place}: " if self.place else ""
        remedy = f"\n  → {self.remedy}" if self.remedy else ""
        return f"{where}{self.what}{remedy}"


class Refused(Exception):
    """A document, package or request that is not to be trusted.

    `code` is the kebab-case refusal code (`mix-and-match`); `reason_of` gives its Reason word.
    """

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(f"{code}: {detail}" if detail else code)
        self.code = code
        self.detail = detail


def reason_of(code: str) -> str:
    """The CamelCase Reason of a kebab-case refusal code: `wrong-org` -> `WrongOrg`."""
    return "".join(part.capitalize() for part in code.split("-"))
