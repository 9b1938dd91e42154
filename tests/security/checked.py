"""What is known of a file that holds checks."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Checked:
    """One file of the source."""

    file: str
    tests: tuple[str, ...]
    """Below `tests/`: those that must miss its checks."""
    by_hand: tuple[tuple[str, str], ...] = ()
    """What is there, and what it becomes: checks that no `raise` ends."""
