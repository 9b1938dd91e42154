"""What a manifest said before and says now, line by line, as people read a diff. Pure."""

import difflib
from dataclasses import dataclass
from enum import StrEnum

LINES_LIMIT = 400
_CONTEXT = 3


class LineKind(StrEnum):
    """What became of a line."""

    KEPT = "kept"
    ADDED = "added"
    REMOVED = "removed"
    GAP = "gap"
    """Lines that stayed are left out here."""


@dataclass(frozen=True, slots=True)
class DiffLine:
    """One line."""

    kind: LineKind
    text: str = ""


def manifest_diff(before: str, after: str) -> list[DiffLine]:
    """The lines that differ and those around them; empty when nothing does.

    At most LINES_LIMIT: a longer one ends with a gap.
    """
    old, new = before.splitlines(), after.splitlines()
    lines: list[DiffLine] = []
    groups = difflib.SequenceMatcher(a=old, b=new, autojunk=False).get_grouped_opcodes(_CONTEXT)
    end = 0
    for group in groups:
        if group[0][1] > end:
            lines.append(DiffLine(LineKind.GAP))
        end = group[-1][2]
        for word, a, b, c, d in group:
            if word == "equal":
                lines += [DiffLine(LineKind.KEPT, text) for text in old[a:b]]
                continue
            lines += [DiffLine(LineKind.REMOVED, text) for text in old[a:b]]
            lines += [DiffLine(LineKind.ADDED, text) for text in new[c:d]]
    if lines and end < len(old):
        lines.append(DiffLine(LineKind.GAP))
    return [*lines[:LINES_LIMIT], DiffLine(LineKind.GAP)] if len(lines) > LINES_LIMIT else lines
