"""Envelopes, key ids and roots against securesystemslib and python-tuf; the chain of roots."""

import json
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from securesystemslib.dsse import Envelope as OtherEnvelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import CryptoSigner, SSlibKey  # type: ignore[attr-defined]
from tuf.api import dsse as tuf_dsse
from tuf.api.exceptions import UnsignedMetadataError
from tuf.api.metadata import Root as TufRoot  # type: ignore[attr-defined]
from tuf.api.metadata import Timestamp  # type: ignore[attr-defined]

from tests.schemas.documents import (
    DAY_S,
    EVIL_KEY,
    NOW,
    ONLINE_KEY,
    RELEASE_KEY,
    ROOT_KEYS,
    code_of,
    make_document,
    make_root,
    make_statement,
)
from towline.schemas import envelope, root, statement, strict_json
from towline.schemas.keys import PrivateKey, PublicKey
from towline.schemas.root import ROOT_TYPE, Role

FIRST = make_root().sign(*ROOT_KEYS[:2])


def other_key(key: PrivateKey) -> Any:
    value = key.public.document()
    return SSlibKey(key.public.keyid, value["keytype"], value["scheme"], value["keyval"])


@given(st.binary(max_size=300), st.text(min_size=1, max_size=40))
@settings(max_examples=50)
def test_what_we_sign_others_verify(payload: bytes, kind: str) -> None:
    ours = envelope.sign(kind, payload, ONLINE_KEY, RELEASE_KEY)
    theirs = OtherEnvelope.from_dict(ours.document())
    assert theirs.pae() == envelope.pre_authentication_encoding(kind, payload)
    keys = [other_key(ONLINE_KEY), other_key(RELEASE_KEY)]
    assert set(theirs.verify(keys, 2)) == {key.keyid for key in keys}
    with pytest.raises(VerificationError):
        theirs.verify([other_key(EVIL_KEY)], 1)


def test_what_others_sign_we_verify() -> None:
    signer = CryptoSigner.generate_ed25519()
    theirs = OtherEnvelope(b"payload", "application/x", {})
    theirs.sign(signer)
    sealed = envelope.parse(json.dumps(theirs.to_dict()).encode())
    key = PublicKey.parse(signer.public_key.to_dict())
    assert sealed.verify("application/x", [key], 1) == b"payload"
    assert code_of(lambda: sealed.verify("application/x", [EVIL_KEY.public], 1)) == "threshold"
    assert key.keyid == signer.public_key.keyid


def test_tuf_reads_our_root_and_its_chain() -> None:
    second = make_root(2, online=Role((EVIL_KEY.public,), 1)).sign(*ROOT_KEYS[:2])
    ours = [tuf_dsse.SimpleEnvelope.from_bytes(data) for data in (FIRST, second)]
    old, new = (sealed.get_signed() for sealed in ours)
    assert isinstance(old, TufRoot)
    assert isinstance(new, TufRoot)
    for authority, sealed in ((old, ours[0]), (old, ours[1]), (new, ours[1])):
        authority.verify_delegate("root", sealed.pae(), sealed.signatures)
    assert (old.version, new.version, old.roles["root"].threshold) == (1, 2, 2)
    assert set(old.roles[Timestamp.type].keyids) == {ONLINE_KEY.public.keyid}
    assert old.unrecognized_fields["x-towline-org"] == "acme"


def test_tuf_and_we_count_the_same_signatures_of_a_root() -> None:
    lone = make_root().sign(ROOT_KEYS[0])
    sealed = tuf_dsse.SimpleEnvelope.from_bytes(lone)
    with pytest.raises(UnsignedMetadataError):
        sealed.get_signed().verify_delegate("root", sealed.pae(), sealed.signatures)
    assert code_of(lambda: root.trust_first(lone)) == "threshold"


def test_a_root_comes_back_as_it_was_signed() -> None:
    for made in (make_root(), make_root(is_development=True)):
        assert root.trust_first(made.sign(*ROOT_KEYS), "acme") == made
    assert code_of(lambda: root.trust_first(FIRST, "evil")) == "wrong-org"


def test_a_chain_is_followed_to_its_newest_root() -> None:
    fresh = [PrivateKey.from_raw(bytes([n]) * 32) for n in (11, 12)]
    handed = make_root(2, root=Role(tuple(key.public for key in fresh), 2))
    third = make_root(3, root=handed.root, expires=NOW + 900 * DAY_S)
    chain = [FIRST, handed.sign(*ROOT_KEYS[:2], *fresh), third.sign(*fresh)]
    assert root.follow(chain, "acme") == third
    assert code_of(lambda: root.follow(chain[1:])) == "root-version"
    assert code_of(lambda: root.follow([chain[0], chain[2]])) == "threshold"


NEW_KEYS = Role((EVIL_KEY.public,), 1)


@pytest.mark.parametrize(
    ("row", "code", "data"),
    [
        ("1 of 2 signatures", "threshold", make_root(2).sign(ROOT_KEYS[0])),
        ("one key signs twice", "threshold", make_root(2).sign(ROOT_KEYS[0], ROOT_KEYS[0])),
        ("by the online key", "threshold", make_root(2).sign(ONLINE_KEY)),
        ("a skipped version", "root-version", make_root(3).sign(*ROOT_KEYS)),
        ("version 1 again", "root-version", FIRST),
        ("new keys that do not sign", "threshold", make_root(2, root=NEW_KEYS).sign(*ROOT_KEYS)),
        ("new keys alone", "threshold", make_root(2, root=NEW_KEYS).sign(EVIL_KEY)),
        ("another organization", "wrong-org", make_root(2, organization="evil").sign(*ROOT_KEYS)),
        ("a document", "payload-type", make_document().sign(ROOT_KEYS[0]).to_bytes()),
    ],
)
def test_row_20_a_root_that_breaks_the_chain_is_refused(row: str, code: str, data: bytes) -> None:
    assert code_of(lambda: root.succeed(make_root(), data)) == code, row


def signed_payload(change: Callable[[dict[str, Any]], object]) -> bytes:
    document = strict_json.parse_object(make_root(2).payload())
    change(document)
    return envelope.sign(ROOT_TYPE, json.dumps(document).encode(), *ROOT_KEYS).to_bytes()


def twice(document: dict[str, Any]) -> None:
    keyid = ROOT_KEYS[0].public.keyid
    document["keys"]["f" * 64] = document["keys"][keyid]


@pytest.mark.parametrize(
    ("code", "change"),
    [
        ("root-type", lambda d: d.update(_type="targets")),
        ("root-type", lambda d: d.update(spec_version="2.0")),
        ("root-type", lambda d: d["roles"].pop("snapshot")),
        ("root-type", lambda d: d["roles"].update(mirror={"keyids": [], "threshold": 1})),
        ("wrong-org", lambda d: d.pop("x-towline-org")),
        ("keyid-mismatch", twice),
        ("keyid-mismatch", lambda d: d["keys"].update({"f" * 64: EVIL_KEY.public.document()})),
        ("keyid-mismatch", lambda d: d["roles"]["root"]["keyids"].append("e" * 64)),
        (
            "keyid-mismatch",
            lambda d: d["roles"]["root"]["keyids"].append(d["roles"]["root"]["keyids"][0]),
        ),
        ("bad-field", lambda d: d["roles"]["root"].update(threshold=0)),
        ("bad-field", lambda d: d["roles"]["timestamp"].update(threshold=True)),
        ("bad-field", lambda d: d.update(version=0)),
        ("key", lambda d: d["keys"].update({"a": {"keytype": "rsa", "keyval": {}}})),
        ("time-format", lambda d: d.update(expires="never")),
    ],
)
def test_a_root_that_is_badly_made_is_refused_although_it_is_signed(
    code: str, change: Callable[[dict[str, Any]], object]
) -> None:
    assert code_of(lambda: root.succeed(make_root(), signed_payload(change))) == code
    assert code_of(lambda: root.trust_first(signed_payload(change))) == code


def test_row_21_a_stolen_online_key_is_of_no_use_after_the_next_root() -> None:
    new = make_root(2, online=Role((EVIL_KEY.public,), 1))
    old_key_signs = make_document().sign(ONLINE_KEY)
    kind, keys = old_key_signs.payload_type, new.online.keys
    assert code_of(lambda: old_key_signs.verify(kind, keys, 1)) == "threshold"


def test_snapshot_can_never_be_satisfied() -> None:
    found = strict_json.parse_object(make_root().payload())["roles"]["snapshot"]
    assert found == {"keyids": [], "threshold": 1}


def test_a_statement_comes_back_as_it_was_signed() -> None:
    made = make_statement()
    assert statement.verify(made.sign(RELEASE_KEY), Role((RELEASE_KEY.public,), 1)) == made


def test_keys_survive_their_file_forms() -> None:
    key = PrivateKey.from_raw(b"k" * 32)
    assert PublicKey.from_text(key.public.text()) == key.public
    for text in ("", "ed25519:zz", "ed25519:" + "0" * 63, "rsa:" + "0" * 64):
        assert code_of(partial(PublicKey.from_text, text)) == "key"
