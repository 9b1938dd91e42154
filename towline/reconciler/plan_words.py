"""The words that the outputs of a plan share: sizes, lengths, counts, the closing line."""

from collections.abc import Mapping, Sequence
from typing import Any

MARKS = {"add": "+", "change": "~", "return": "~", "remove": "-", "none": " "}
NAMES_SHOWN = 50


def count(number: int, word: str) -> str:
    """`1 device`, `3,000 devices`."""
    return f"{number:,} {word}" if number == 1 else f"{number:,} {word}s"


def size(number: int) -> str:
    """Decimal units, as disks and links are sold."""
    value = float(number)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def length(seconds: int) -> str:
    """The two greatest units: `2h 30m`."""
    parts = []
    for unit, each in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        if whole := seconds // each:
            parts.append(f"{whole}{unit}")
        seconds %= each
    return " ".join(parts[:2]) or "0s"


def summary(document: Mapping[str, Any]) -> str:
    """The closing line."""
    told = document["summary"]
    return (
        f"Plan: {told['add']} to add, {told['change']} to change, {told['remove']} to remove;"
        f" {count(told['devices'], 'device')}, {size(told['bytes'])}; {told['skipped']:,} skipped."
    )


def shown_names(names: Mapping[str, Any] | None) -> str:
    """Ids in one line, cut with a count; empty when none were asked for."""
    if not names:
        return ""
    shown: Sequence[str] = names["shown"][:NAMES_SHOWN]
    left = names["left"] + len(names["shown"]) - len(shown)
    return ", ".join(shown) + (f" and {left:,} more" if left else "")


def changed(document: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The Deployments that there is something to say of."""
    return [
        each
        for each in document["deployments"]
        if each["change"] != "none" or each["errors"] or each["warnings"]
    ]


def title(deployment: Mapping[str, Any]) -> str:
    """What happens to it, in one line."""
    before, after = deployment["versionBefore"], deployment["versionAfter"]
    match deployment["change"]:
        case "add":
            return f"{deployment['name']} {after}: new"
        case "remove":
            return f"{deployment['name']} {before}: removed; devices keep what they run"
        case "return":
            return f"{deployment['name']} {before} -> {after}: a return"
        case "none":
            return f"{deployment['name']} {after}: unchanged"
    versions = after if before == after else f"{before} -> {after}"
    kind = "the same revision" if before == after else "a new revision"
    if before == after and deployment["revisionBefore"] != deployment["revisionAfter"]:
        kind = "a new revision"
    return f"{deployment['name']} {versions}: {kind}"
