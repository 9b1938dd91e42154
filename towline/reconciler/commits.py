"""What a look at the branch means: a new head applied or held, an old one gone stale.

Pure over plain values; `follow` reads git and writes the store.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from towline.manifests.model import Deployment
from towline.manifests.model_policy import Policy

MAX_REMOVED_PERCENT = Policy().max_removed


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
    handed_over: Collection[str] = ()
    """Deployments before it whose devices pass to another one with it."""
    holding_errors: tuple[str, ...] = ()
    """Errors of a DeviceGroup, Freeze or Policy, or a broken root chain."""
    unsigned: str = ""
    """Why it does not count as signed, where the server's settings want that."""
    replaces_roots: bool = False
    """Its roots do not go on from those in force."""
    max_removed: int = MAX_REMOVED_PERCENT
    """Percent of `in_force`, by the Policy before it."""


def why_held(facts: CommitFacts) -> str:
    """Why the commit is not applied; empty when it may be."""
    if facts.unsigned:
        return (
            f"{facts.unsigned}, and allowed_signers of the server's settings says who signs:"
            " push a commit on top of it that one of them has signed"
        )
    if facts.holding_errors:
        return facts.holding_errors[0]
    if facts.is_accepted:
        return ""
    if not facts.descends:
        return (
            "it does not descend from the last one applied (a force push?);"
            f" `towline repo accept {facts.sha[:12]} --reason …` applies it"
        )
    if facts.replaces_roots:
        return (
            "its roots are others than those in force, and devices that are enrolled would refuse"
            f" them; `towline repo accept {facts.sha[:12]} --reason …` applies it"
        )
    removed = set(facts.in_force) - set(facts.wanted) - set(facts.handed_over)
    if _is_mass_removal(len(removed), len(facts.in_force), facts.max_removed):
        return (
            f"it removes {len(removed)} of {len(facts.in_force)} Deployments at once;"
            f" `towline repo accept {facts.sha[:12]} --reason …` applies it"
        )
    return ""


def _is_mass_removal(removed: int, in_force: int, max_removed: int) -> bool:
    """More than one, and more than the share allowed or all of them."""
    return removed > 1 and (removed * 100 > max_removed * in_force or removed == in_force)


def handed_over(
    in_force: Mapping[str, Deployment], wanted: Mapping[str, Deployment]
) -> frozenset[str]:
    """The removed Deployments whose devices another one of their component takes.

    It names them in `replaces`, or its ownership filters are the same.
    """
    takers = wanted.values()
    replaced = {(each.component, name) for each in takers for name in each.replaces}
    owned = {(each.component, each.ownership) for each in takers}
    return frozenset(
        name
        for name, old in in_force.items()
        if name not in wanted
        and ((old.component, name) in replaced or (old.component, old.ownership) in owned)
    )


def stale_at(last_fetch_at: int | None, after_s: int) -> int | None:
    """When what git says goes stale, unless it is looked at before; None: nothing was ever seen."""
    return None if last_fetch_at is None else last_fetch_at + after_s


def is_git_stale(last_fetch_at: int | None, hold_after_s: int, now: int) -> bool:
    """True when the last successful look is so long ago; all in seconds."""
    at = stale_at(last_fetch_at, hold_after_s)
    return at is not None and at <= now
