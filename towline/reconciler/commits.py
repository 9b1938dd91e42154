"""What a new head of the branch means: applied, or held until a person accepts it.

Pure over plain values; `follow` reads git and writes the store.
"""

from collections.abc import Collection
from dataclasses import dataclass

MAX_REMOVED_PERCENT = 50


@dataclass(frozen=True, slots=True)
class CommitFacts:
    """What is known of a head before it is applied."""

    sha: str
    descends: bool
    """From the last one applied; true for the first."""
    is_accepted: bool
    """A person accepted exactly this commit."""
    in_force: Collection[str]
    """Deployments before it."""
    wanted: Collection[str]
    """Deployments it holds, the broken ones and those of unreadable files included."""
    holding_errors: tuple[str, ...] = ()
    """Errors of a DeviceGroup, Freeze or Policy, or a broken root chain."""


def why_held(facts: CommitFacts) -> str:
    """Why the commit is not applied; empty when it may be."""
    if facts.holding_errors:
        return facts.holding_errors[0]
    if facts.is_accepted:
        return ""
    if not facts.descends:
        return (
            "it does not descend from the last one applied (a force push?);"
            f" `towline repo accept {facts.sha[:12]} --reason …` applies it"
        )
    removed = set(facts.in_force) - set(facts.wanted)
    if len(removed) > 1 and len(removed) * 100 > MAX_REMOVED_PERCENT * len(facts.in_force):
        return (
            f"it removes {len(removed)} of {len(facts.in_force)} Deployments at once;"
            f" `towline repo accept {facts.sha[:12]} --reason …` applies it"
        )
    return ""
