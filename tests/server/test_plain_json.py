"""The quick reader of JSON says what the strict one says, whatever comes."""

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from towline.reconciler.server import plain_json
from towline.schemas import strict_json
from towline.schemas.problems import Refused

_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)
_SAID = (
    b'{"a":1,"a":1}',
    b'{"a":{"b":1,"b":2}}',
    b'{"a":1,"\\u0061":2}',
    b'{"a":NaN}',
    b"[1e400]",
    b"[-0]",
    b"[-0.0]",
    b"[18446744073709551615]",
    b"[18446744073709551616]",
    b"[9007199254740993.0]",
    b'["\\ud800"]',
    b'["\\u0000"]',
    b'"\xff"',
    b"\xef\xbb\xbf{}",
    b" {}",
    b"{} {}",
    b"",
    b"[" * 300 + b"]" * 300,
    b"[" * 5000 + b"]" * 5000,
)


def _outcome(parse: Any, data: bytes) -> object:
    """The value with its types, or the refusal's code."""
    try:
        return repr(parse(data))
    except Refused as refused:
        return refused.code


def _same(data: bytes) -> None:
    assert _outcome(plain_json.parse, data) == _outcome(strict_json.parse, data)


@pytest.mark.parametrize("data", _SAID)
def test_what_two_readers_could_take_for_two_things(data: bytes) -> None:
    _same(data)


@given(_VALUES)
def test_what_is_written_in_either_way(value: Any) -> None:
    _same(json.dumps(value).encode())
    _same(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace"))


@given(st.binary(max_size=40) | st.text(alphabet='{}[]",:0123456789eE+-.\\uand', max_size=40))
def test_whatever_bytes_come(data: Any) -> None:
    _same(data if isinstance(data, bytes) else data.encode())


def test_the_strict_reader_has_nothing_to_do_with_what_is_plain(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def unexpected(_: bytes) -> Any:
        raise AssertionError

    monkeypatch.setattr(strict_json, "parse", unexpected)
    said = {"journal": "j", "facts": {"kernel": "6.1", "größe": 12.5}, "versions": {}}
    assert plain_json.parse(orjson.dumps(said)) == said
