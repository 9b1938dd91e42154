"""What became of each commit of the branch, newest first, in one word and a sentence. Pure."""

from collections.abc import Mapping, Sequence
from enum import StrEnum

from towline.reconciler.store.reading_commits import CommitKnown


class Fate(StrEnum):
    """What became of a commit."""

    IN_FORCE = "in force"
    WAS_IN_FORCE = "was in force"
    HELD = "held"
    NOT_YET = "not yet looked at"
    PASSED_BY = "came with a later one"


def fates(
    shas: Sequence[str], known: Mapping[str, CommitKnown], in_force: str | None, held: str | None
) -> list[Fate]:
    """One for each commit; `shas` goes from the branch's head back."""
    found = []
    is_older = False
    for sha in shas:
        is_applied = known[sha].applied_at is not None
        if sha == in_force:
            found.append(Fate.IN_FORCE)
        elif sha == held:
            found.append(Fate.HELD)
        elif is_applied:
            found.append(Fate.WAS_IN_FORCE)
        else:
            found.append(Fate.PASSED_BY if is_older else Fate.NOT_YET)
        is_older = is_older or is_applied or sha == in_force
    return found
