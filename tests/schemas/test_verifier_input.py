"""Bytes that are no document, and documents bent at any place: only Refused may escape."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.schemas.documents import (
    CLOCK,
    DEVICE_KEY,
    GOOD_CHECK,
    IDENTITY,
    NONCE,
    ONLINE_KEY,
    RELEASE_KEY,
    check,
    code_of,
    make_component,
    make_document,
    make_statement,
    payload_of,
    sealed,
)
from towline.schemas import envelope
from towline.schemas.problems import Refused
from towline.schemas.statement import STATEMENT_TYPE


@pytest.mark.parametrize(
    ("code", "data"),
    [
        ("too-large", b" " * (64 * 1024 + 1)),
        ("not-json", b""),
        ("not-json", b"[]"),
        ("not-json", b"\xff{}"),
        ("not-json", b"[" * 30_000),
        ("not-json", b'{"a":' * 9_000),
        ("duplicate-key", b'{"payload":"","payload":""}'),
        ("nan", b'{"payload":NaN}'),
        ("nan", b'{"payload":1e999}'),
        ("envelope", b"{}"),
        ("envelope", b'{"payloadType":1,"payload":"","signatures":[]}'),
        ("envelope", b'{"payloadType":"t","payload":"","signatures":["x"]}'),
        ("envelope", b'{"payloadType":"t","payload":"","signatures":[{}],"more":1}'),
        ("sig-count", b'{"payloadType":"t","payload":"","signatures":[]}'),
        (
            "sig-count",
            b'{"payloadType":"t","payload":"","signatures":[' + b",".join([b"{}"] * 17) + b"]}",
        ),
        ("base64", b'{"payloadType":"t","payload":"!","signatures":[{"sig":""}]}'),
        ("base64", b'{"payloadType":"t","payload":"","signatures":[{}]}'),
    ],
)
def test_row_22_what_is_no_envelope_is_refused(code: str, data: bytes) -> None:
    assert code_of(lambda: check(data)) == code


@pytest.mark.parametrize(
    ("code", "payload"),
    [
        ("not-json", b"[" * 20_000),
        ("not-json", b"7"),
        ("duplicate-key", b'{"v":1,"v":1}'),
        ("nan", b'{"v":NaN}'),
        ("version", b"{}"),
        ("version", b'{"v":true}'),
    ],
)
def test_row_22_what_was_signed_is_parsed_as_strictly(code: str, payload: bytes) -> None:
    assert code_of(lambda: check(sealed(payload))) == code


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)


def paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a JSON value."""
    pairs = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    return [path, *(found for key, inner in pairs for found in paths(inner, (*path, key)))]


PLACES = paths(payload_of(make_document(components=(make_component(health=(GOOD_CHECK,)),))))[1:]
STATEMENT_PLACES = paths(make_statement().document())[1:]


def put(document: Any, path: tuple[Any, ...], value: Any) -> None:
    for key in path[:-1]:
        document = document[key]
    document[path[-1]] = value


@settings(max_examples=300)
@given(st.sampled_from(PLACES), JSON)
def test_nothing_but_a_refusal_escapes_from_a_signed_document(
    path: tuple[Any, ...], value: Any
) -> None:
    payload = payload_of(make_document(components=(make_component(health=(GOOD_CHECK,)),)))
    put(payload, path, value)
    try:
        accepted = check(sealed(payload))
    except Refused:
        return
    assert accepted.document.device == IDENTITY.device
    assert accepted.document.device_key == DEVICE_KEY.public.keyid
    assert accepted.document.nonce == NONCE


@settings(max_examples=200)
@given(st.sampled_from(STATEMENT_PLACES), JSON)
def test_nothing_but_a_refusal_escapes_from_a_signed_statement(
    path: tuple[Any, ...], value: Any
) -> None:
    document = make_statement().document()
    put(document, path, value)
    statement = envelope.sign(STATEMENT_TYPE, json.dumps(document).encode(), RELEASE_KEY)
    try:
        check(make_document(components=(make_component(statement=statement),)), clock=CLOCK)
    except Refused:
        return


@settings(max_examples=200)
@given(st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()))
def test_nothing_but_a_refusal_escapes_from_any_bytes(data: bytes) -> None:
    assert code_of(lambda: check(data))
    assert code_of(lambda: check(sealed(data)))


@settings(max_examples=150)
@given(st.data())
def test_no_changed_byte_of_an_envelope_is_accepted_as_another_document(
    data: st.DataObject,
) -> None:
    raw = bytearray(make_document().sign(ONLINE_KEY).to_bytes())
    raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        accepted = check(bytes(raw))
    except Refused:
        return
    assert accepted.document == make_document()
