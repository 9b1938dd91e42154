"""One row of the attack table."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Shown:
    """One test of an attack."""

    file: str
    test: str
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Attack:
    """A way in, and the tests that show what becomes of it."""

    row: int
    what: str
    shown: tuple[Shown, ...]
