"""Ids made of titles: always one that the grammar allows, the same at every call."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from towline.schemas.identifiers import is_id, slug_of


@pytest.mark.parametrize(
    ("title", "slug"),
    [
        ("Firmware Update v2.1.0", "firmware-update-v2.1.0"),
        ("  Über Größe!  ", "uber-groe"),
        ("..x..", "x"),
        ("🚀", "deployment-ebbc0b28"),
    ],
)
def test_a_title_keeps_what_an_id_may_have(title: str, slug: str) -> None:
    assert slug_of(title) == slug


def test_long_titles_that_differ_at_their_end_have_ids_of_their_own() -> None:
    assert slug_of("a" * 100 + "b") != slug_of("a" * 100 + "c")


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=300))
def test_every_title_has_an_id(title: str) -> None:
    assert is_id(slug_of(title))


@pytest.mark.parametrize(
    "text", ["", "-a", "A", "a/b", "..", "dev1\n", "a b", "\uff44", "a" * 64, None, 5, b"a"]
)
def test_an_id_is_one_as_a_whole_or_none(text: object) -> None:
    assert not is_id(text)
    assert is_id("a" * 63)
