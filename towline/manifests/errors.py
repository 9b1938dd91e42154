"""What is wrong in a manifest, where, and what to write instead.

A `Fault` knows its place inside one document; a `LoadError` adds the file and the document's
kind and name, and is what every surface shows.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches

from towline.schemas.problems import Place

Location = tuple[str | int, ...]
"""Keys and list positions from the root of a document."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A position in a text; both count from 1."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong in one document."""

    location: Location
    mark: Mark
    message: str
    remedy: str


@dataclass(frozen=True, slots=True)
class LoadError:
    """One thing that is wrong in one file."""

    place: Place
    path: str
    """Path in the document: `spec.strategy.batches[1].size`; empty for the whole of it."""
    message: str
    remedy: str
    kind: str | None = None
    """The document's kind, as far as it could be known."""
    name: str | None = None
    """The document's name, as far as it could be known."""
    holds_commit: bool = False
    """A DeviceGroup, Freeze or Policy that does not load: nothing of the commit is applied."""

    def __str__(self) -> str:
        path = f" {self.path}:" if self.path else ""
        return f"{self.place}:{path} {self.message}\n  → {self.remedy}"


def path_text(location: Location) -> str:
    """`("spec", "health", 0, "tcp")` -> `spec.health[0].tcp`."""
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def nearest(word: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """The known word that was probably meant, in any case of letters."""
    by_lower = {entry.lower().replace("_", ""): entry for entry in known}
    close = get_close_matches(word.lower().replace("_", ""), by_lower, n=1, cutoff=cutoff)
    return by_lower[close[0]] if close else None
