"""Versions and ranges: exact equality, semver's order, opaque text."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from towline.manifests.version import NotComparable, Range, is_newer, precedence

_CHAIN = [
    "0.9.0",
    "1.0.0-alpha",
    "1.0.0-alpha.1",
    "1.0.0-alpha.beta",
    "1.0.0-beta",
    "1.0.0-beta.2",
    "1.0.0-beta.11",
    "1.0.0-rc.1",
    "1.0.0",
    "1.9",
    "1.10.0-2",
    "v1.10.0",
    "1.10.0.1",
    "2",
]
"""Semver 2.0, section 11, and numbers that are left out."""


def test_the_chain_of_semver_is_in_order() -> None:
    assert sorted(_CHAIN, key=precedence) == _CHAIN
    for lower, higher in pairwise(_CHAIN):
        assert is_newer(higher, lower)
        assert not is_newer(lower, higher)


@pytest.mark.parametrize(
    ("one", "other"), [("v1.2", "1.2.0"), ("1.0.0+a", "1.0.0+b"), ("2", "2.0.0.0")]
)
def test_some_texts_differ_and_have_the_same_place(one: str, other: str) -> None:
    assert not is_newer(one, other)
    assert not is_newer(other, one)
    assert Range.parse(f">={one}, <={one}").matches(other)
    assert not Range.parse(f"={one}").matches(other)


@pytest.mark.parametrize(
    "version",
    [
        "nightly",
        "",
        "1.2.3.4.5",
        "01.2",
        "1.0.0-01",
        "1.0.0-",
        "vv1",
        "V1.0",
        "1.٣",
        "1..2",
        "1" * 101,
    ],
)
def test_what_is_not_semver_has_no_order(version: str) -> None:
    with pytest.raises(NotComparable):
        precedence(version)


@pytest.mark.parametrize(
    ("text", "version", "matches"),
    [
        (">=2.0, !=2.4.1", "2.4.0", True),
        (">=2.0, !=2.4.1", "2.4.1", False),
        (">=2.0, !=2.4.1", "1.9", False),
        ("<2.0.0", "2.0.0-rc.1", True),
        ("<= 2.0", "2.0.0", True),
        (">2.0", "2.0.0", False),
        ("==2.0", "2.0", True),
        ("=2.0", "2.0.0", False),
        ("!=2.0", "v2.0", True),
        ("=nightly", "nightly", True),
        ("!=nightly", "2.0", True),
    ],
)
def test_a_range_matches(text: str, version: str, matches: bool) -> None:
    assert Range.parse(text).matches(version) is matches


def test_an_opaque_version_is_told_by_exact_terms_alone() -> None:
    assert Range.parse("!=1.0").matches("nightly")
    assert not Range.parse(">=2.0, !=nightly").matches("nightly")
    with pytest.raises(NotComparable):
        Range.parse(">=2.0, !=1.0").matches("nightly")


@pytest.mark.parametrize("text", ["", "2.0", ">=", "~>2.0", ">=2.0,", "=>2.0", ">=2.0 <3", "> = 2"])
def test_what_is_no_range_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a comparison"):
        Range.parse(text)


def test_an_order_with_an_opaque_bound_is_refused() -> None:
    with pytest.raises(ValueError, match="only = and != work on it"):
        Range.parse(">=nightly")


def test_a_range_has_one_text() -> None:
    assert str(Range.parse(" >=2.0 ,==1.0,!= 3")) == ">=2.0,=1.0,!=3"
    assert Range.parse(str(Range.parse(">= 2.0"))) == Range.parse(">=2.0")


def _is_comparable(text: str) -> bool:
    try:
        precedence(text)
    except NotComparable:
        return False
    return True


_VERSIONS = st.from_regex(
    r"v?[0-9]{1,2}(\.[0-9]{1,2}){0,3}(-[a-c0-9]{1,2}(\.[a-c0-9])?)?", fullmatch=True
).filter(_is_comparable)


@given(_VERSIONS, _VERSIONS)
def test_every_version_is_below_at_or_above_another(one: str, other: str) -> None:
    below, above = Range.parse(f"<{other}"), Range.parse(f">{other}")
    same = Range.parse(f"<={other},>={other}")
    assert [below.matches(one), same.matches(one), above.matches(one)].count(True) == 1
