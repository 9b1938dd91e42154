"""Which heads are held, which removals count, and when git is stale: pure over plain values."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.manifests.texts import manifest
from towline.manifests.load import load
from towline.manifests.model import Deployment, Ownership
from towline.reconciler.commits import (
    CommitFacts,
    handed_over,
    is_git_stale,
    stale_at,
    why_held,
)

NAMES = st.sets(st.sampled_from("abcdefgh"))


def facts(
    in_force: set[str], wanted: set[str], *, handed: set[str] | None = None, max_removed: int = 50
) -> CommitFacts:
    return CommitFacts(
        "ab" * 20,
        descends=True,
        is_accepted=False,
        in_force=in_force,
        wanted=wanted,
        handed_over=handed or set(),
        max_removed=max_removed,
    )


@pytest.mark.parametrize(
    ("in_force", "wanted", "max_removed", "is_held"),
    [
        ("ab", "b", 0, False),
        ("abc", "c", 50, True),
        ("abcd", "cd", 50, False),
        ("abcd", "cd", 49, True),
        ("ab", "", 100, True),
        ("abc", "c", 100, False),
        ("a", "", 0, False),
        ("abc", "xyz", 100, True),
    ],
)
def test_more_than_one_and_more_than_the_share_or_all_of_them_is_a_mass_removal(
    in_force: str, wanted: str, max_removed: int, is_held: bool
) -> None:
    why = why_held(facts(set(in_force), set(wanted), max_removed=max_removed))
    assert bool(why) == is_held
    assert not is_held or "`towline repo accept abababababab --reason …`" in why


@given(NAMES, NAMES, NAMES, st.integers(0, 100))
def test_what_is_handed_over_never_makes_a_removal_worse(
    in_force: set[str], wanted: set[str], handed: set[str], max_removed: int
) -> None:
    without = why_held(facts(in_force, wanted, max_removed=max_removed))
    with_it = why_held(facts(in_force, wanted, handed=handed, max_removed=max_removed))
    assert without or not with_it


@given(NAMES, NAMES)
def test_an_accepted_commit_is_held_by_its_errors_alone(
    in_force: set[str], wanted: set[str]
) -> None:
    accepted = replace(facts(in_force, wanted), is_accepted=True, descends=False)
    assert why_held(accepted) == ""
    assert why_held(replace(accepted, holding_errors=("broken", "too"))) == "broken"


@pytest.mark.parametrize(
    ("change", "words", "may_be_accepted"),
    [
        ({"unsigned": "it is not signed"}, "it is not signed, and allowed_signers", False),
        ({"holding_errors": ("broken",)}, "broken", False),
        ({"descends": False}, "it does not descend from the last one", True),
        ({"replaces_roots": True}, "its roots are others than those in force", True),
        ({"wanted": frozenset()}, "it removes 2 of 2 Deployments", True),
    ],
)
def test_each_reason_by_itself_holds_a_commit(
    change: dict[str, Any], words: str, may_be_accepted: bool
) -> None:
    good = facts({"a", "b"}, {"a", "b"})
    assert why_held(good) == ""
    held = replace(good, **change)
    assert why_held(held).startswith(words)
    assert (why_held(replace(held, is_accepted=True)) == "") is may_be_accepted


def deployment(name: str, **changes: object) -> Deployment:
    (loaded,) = load({"a.yaml": manifest().encode()}).deployments.values()
    return replace(loaded, name=name, **changes)  # type: ignore[arg-type]


def own(label: str) -> Ownership:
    return Ownership(labels=(("store", (label,)),))


def test_devices_pass_to_a_deployment_that_names_the_old_one_in_replaces() -> None:
    old = {name: deployment(name, ownership=own(name)) for name in ("a", "b")}
    new = {"c": deployment("c", ownership=own("c"), replaces=("a",))}
    assert handed_over(old, new) == {"a"}


def test_devices_pass_to_a_deployment_of_the_same_component_and_filters() -> None:
    old = {"a": deployment("a", ownership=own("a")), "b": deployment("b", ownership=own("b"))}
    new = {"c": deployment("c", ownership=own("a"))}
    assert handed_over(old, new) == {"a"}


def test_no_devices_pass_to_another_component() -> None:
    old = {"a": deployment("a", component="system")}
    new = {"c": deployment("c", component="agent", replaces=("a",))}
    assert handed_over(old, new) == frozenset()


def test_what_stays_is_not_handed_over() -> None:
    old = {"a": deployment("a")}
    assert handed_over(old, {"a": deployment("a"), "c": deployment("c")}) == frozenset()


@given(st.integers(0, 10**10), st.integers(1, 10**6), st.integers(0, 10**10))
def test_git_is_stale_from_the_time_that_is_told_beforehand(
    last: int, after_s: int, now: int
) -> None:
    at = stale_at(last, after_s)
    assert at is not None
    assert is_git_stale(last, after_s, now) == (now >= at)
    assert not is_git_stale(last, after_s, at - 1)


def test_what_was_never_seen_is_not_stale() -> None:
    assert stale_at(None, 1) is None
    assert not is_git_stale(None, 1, 10**10)
