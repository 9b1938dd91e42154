"""Bytes that are nothing, and signed documents bent at any place: only Refused may escape.

2,000 examples with every change, spread over the parsers by `SHARES`; 100,000 in `make soak`.
"""

import io
import json
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.schemas.documents import (
    CLOCK,
    DEVICE_KEY,
    GOOD_CHECK,
    IDENTITY,
    NONCE,
    NOW,
    ONLINE_KEY,
    RELEASE_KEY,
    ROOT_KEYS,
    check,
    code_of,
    make_component,
    make_document,
    make_root,
    make_statement,
    payload_of,
    sealed,
)
from tests.soaking import parser_examples
from towline.agent.unpack import measure
from towline.agent.wire import split_https
from towline.schemas import envelope, reports, root, strict_json
from towline.schemas.enrolment import (
    ENROLMENT_TYPE,
    EnrolmentRequest,
    JoinString,
    SessionRequest,
)
from towline.schemas.keys import PublicKey
from towline.schemas.problems import Problem, Refused
from towline.schemas.reports import Attempt, Installed, Report
from towline.schemas.root import ROOT_TYPE
from towline.schemas.statement import STATEMENT_TYPE
from towline.schemas.states import TargetState

SHARES = {
    "document": 400,
    "statement": 250,
    "root": 250,
    "report": 250,
    "enrolment": 150,
    "session": 150,
    "bytes": 200,
    "byte of an envelope": 150,
    "join string": 100,
    "archive": 100,
}


def test_the_parsers_get_their_two_thousand_examples() -> None:
    assert sum(SHARES.values()) == 2000
    assert sum(parser_examples(share) for share in SHARES.values()) in (2000, 100_000)


def tried(parser: str) -> settings:
    """As often as its share says."""
    late = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
    return settings(max_examples=parser_examples(SHARES[parser]), suppress_health_check=late)


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
        ("envelope", b'{"payloadType":"t","payload":"","signatures":{"sig":"YQ=="}}'),
        ("envelope", b'{"payloadType":"t","payload":"","signatures":5}'),
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


def bent(document: Mapping[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    """The document with any one place replaced by anything."""
    text = json.dumps(document)

    def put(path: tuple[Any, ...], value: Any) -> dict[str, Any]:
        changed: dict[str, Any] = json.loads(text)
        inner: Any = changed
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = value
        return changed

    return st.builds(put, st.sampled_from(paths(document)[1:]), JSON)


def signed(kind: str, document: Mapping[str, Any], *keys: Any) -> envelope.Envelope:
    return envelope.sign(kind, json.dumps(document).encode(), *keys)


def refused_or(act: Callable[[], Any]) -> Any:
    """What it gives, or None when it refuses; anything else that it raises escapes."""
    try:
        return act()
    except Refused:
        return None


WHOLE = make_document(components=(make_component(health=(GOOD_CHECK,)),))


@tried("document")
@given(bent(payload_of(WHOLE)))
def test_nothing_but_a_refusal_escapes_from_a_signed_document(payload: dict[str, Any]) -> None:
    accepted = refused_or(lambda: check(sealed(payload)))
    if accepted is not None:
        assert accepted.document.device == IDENTITY.device
        assert accepted.document.device_key == DEVICE_KEY.public.keyid
        assert accepted.document.nonce == NONCE


@tried("statement")
@given(bent(make_statement().document()))
def test_nothing_but_a_refusal_escapes_from_a_signed_statement(document: dict[str, Any]) -> None:
    component = make_component(statement=signed(STATEMENT_TYPE, document, RELEASE_KEY))
    refused_or(lambda: check(make_document(components=(component,)), clock=CLOCK))


@tried("root")
@given(bent(strict_json.parse_object(make_root(2).payload())))
def test_nothing_but_a_refusal_escapes_from_a_signed_root(document: dict[str, Any]) -> None:
    data = signed(ROOT_TYPE, document, *ROOT_KEYS).to_bytes()
    new = refused_or(lambda: root.succeed(make_root(), data))
    assert new is None or (new.version, new.organization) == (2, "acme")
    refused_or(lambda: root.trust_first(data))


REPORT = Report(
    journal="j",
    report_seq=1,
    last_sequence=5,
    attempt=Attempt("app", "d", "c" * 64, 1, "e" * 40, TargetState.FAILED, "R", "m", 5),
    rejected="nonce",
    facts={"a": [1, {"b": "c"}]},
    versions={"app": Installed("1", "a" * 64)},
)


@tried("report")
@given(bent(REPORT.document()))
def test_nothing_but_a_refusal_escapes_from_a_report(document: dict[str, Any]) -> None:
    refused_or(lambda: reports.parse_many(document))
    refused_or(lambda: reports.parse_many([document]))


ENROLMENT = EnrolmentRequest("acme", "pi-1", DEVICE_KEY.public, "pi4", "0.1")
SESSION = SessionRequest("acme", "pi-1", DEVICE_KEY.public.keyid, "n" * 22, "boot", NOW, 5)


@tried("enrolment")
@given(bent(strict_json.parse_object(ENROLMENT.sign(DEVICE_KEY).payload)))
def test_nothing_but_a_refusal_escapes_from_an_enrolment(document: dict[str, Any]) -> None:
    request = refused_or(
        lambda: EnrolmentRequest.verify(signed(ENROLMENT_TYPE, document, DEVICE_KEY))
    )
    assert request is None or request.public_key == DEVICE_KEY.public


@tried("session")
@given(bent(strict_json.parse_object(SESSION.sign(DEVICE_KEY).payload)))
def test_nothing_but_a_refusal_escapes_from_a_session_request(document: dict[str, Any]) -> None:
    refused_or(lambda: SessionRequest.read(signed("any", document, DEVICE_KEY)))


@tried("bytes")
@given(st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()))
def test_nothing_but_a_refusal_escapes_from_any_bytes(data: bytes) -> None:
    assert code_of(lambda: check(data))
    assert code_of(lambda: check(sealed(data)))
    assert code_of(lambda: root.trust_first(data))
    refused_or(lambda: reports.parse_many(strict_json.parse(data)))
    refused_or(lambda: PublicKey.parse(strict_json.parse(data)))


@tried("byte of an envelope")
@given(st.data())
def test_no_changed_byte_of_an_envelope_is_accepted_as_another_document(
    data: st.DataObject,
) -> None:
    raw = bytearray(make_document().sign(ONLINE_KEY).to_bytes())
    raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    accepted = refused_or(lambda: check(bytes(raw)))
    assert accepted is None or accepted.document == make_document()


JOIN = str(JoinString("https://towline.example:8443", "acme", "t" * 22, f"sha256:{'a' * 64}"))


@tried("join string")
@given(st.text(max_size=80) | st.builds(lambda at, x: JOIN[:at] + x, st.integers(0, 90), st.text()))
def test_nothing_but_a_problem_escapes_from_a_join_string(text: str) -> None:
    try:
        found = JoinString.parse(text)
    except Problem as problem:
        assert problem.remedy
    else:
        split_https(found.server)


@pytest.mark.parametrize("place", ["[", "[::1", "a:b", "a:99999", "a:0", "u:p@a", "", "ü", "a b"])
def test_a_join_string_names_a_server_that_can_be_asked(place: str) -> None:
    line = f"towline+https://{place}/join?org=acme&token=t&root=r"
    with pytest.raises(Problem, match="no join string"):
        JoinString.parse(line)
    assert JoinString.parse(line.replace(f"//{place}/", "//a:1/")).server == "https://a:1"


def archive() -> bytes:
    """A small package."""
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w:gz") as file:
        for name in ("install.sh", "é" * 120):
            file.addfile(tarfile.TarInfo(name), io.BytesIO())
    return held.getvalue()


@tried("archive")
@given(st.data())
def test_nothing_but_a_refusal_escapes_from_an_archive(tmp_path: Path, data: st.DataObject) -> None:
    raw = bytearray(archive())
    for _ in range(data.draw(st.integers(1, 3))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    package = tmp_path / "p.tar.gz"
    package.write_bytes(raw)
    refused_or(lambda: measure(package))
