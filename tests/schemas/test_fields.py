"""Typed access to fields: a missing or wrong one is a refusal that names it."""

from collections.abc import Callable
from typing import Any

import pytest

from towline.schemas import fields
from towline.schemas.problems import Refused

GOOD: list[tuple[Callable[..., object], Any]] = [
    (fields.text, "some\ttext\nö"),
    (fields.text, "x" * 4096),
    (fields.line, "1.0 rc ö"),
    (fields.identifier, "pi-0042"),
    (fields.whole, 0),
    (fields.digest, "0123456789abcdef" * 4),
    (fields.mapping, {}),
    (fields.storable, {"a": [2**63 - 1, True, 1e300, None]}),
    (fields.storable, {"a": ["\\u0000", {"b\\\\u0000": 1}]}),
    (fields.sequence, []),
    (fields.texts, ["a", "b"]),
    (fields.optional_text, None),
    (fields.optional_text, "a"),
]
BAD: list[tuple[Callable[..., object], Any]] = [
    (fields.text, "x" * 4097),
    (fields.text, "a\x00b"),
    (fields.text, "a\rb"),
    (fields.text, 1),
    (fields.line, "x" * 4097),
    (fields.optional_text, "x" * 4097),
    *((fields.line, f"a{char}b") for char in "\n\t\r\0\x7f\x85\u2028\u202e\ufeff"),
    (fields.identifier, "Pi"),
    (fields.identifier, "pi\n"),
    (fields.identifier, "../x"),
    (fields.identifier, "x" * 64),
    (fields.identifier, "٣"),
    (fields.whole, -1),
    (fields.whole, True),
    (fields.whole, 1.0),
    (fields.digest, "A" * 64),
    (fields.digest, "a" * 63),
    (fields.digest, "a" * 64 + "\n"),
    (fields.digest, int("1" * 64)),
    (fields.digest, None),
    (fields.mapping, []),
    (fields.storable, {"a": [2**63]}),
    (fields.storable, {"a": {"b": -(2**63)}}),
    (fields.storable, {"a": ["b\x00"]}),
    (fields.storable, {"a": {"b\x00": 1}}),
    (fields.storable, {"a": "\\\x00"}),
    (fields.sequence, {}),
    (fields.texts, ["a", 1]),
    (fields.texts, "ab"),
    (fields.optional_text, 1),
]


@pytest.mark.parametrize(("read", "value"), GOOD)
def test_a_good_field_is_read(read: Callable[..., object], value: Any) -> None:
    found = read({"it": value}, "it")
    assert found == (tuple(value) if read is fields.texts else value)


@pytest.mark.parametrize(("read", "value"), BAD)
def test_a_bad_field_is_refused_by_its_name(read: Callable[..., object], value: Any) -> None:
    with pytest.raises(Refused) as refused:
        read({"it": value}, "it")
    assert (refused.value.code, refused.value.detail) == ("bad-field", "it")


@pytest.mark.parametrize("read", [fields.text, fields.line, fields.optional_text])
def test_a_text_has_the_limit_that_is_asked_for(read: Callable[..., object]) -> None:
    assert read({"it": "abc"}, "it", limit=3) == "abc"
    with pytest.raises(Refused, match="bad-field: it"):
        read({"it": "abcd"}, "it", limit=3)
