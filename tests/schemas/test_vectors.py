"""The vectors in tests/vectors: as they were made, and as others and we judge them."""

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from securesystemslib.dsse import Envelope as OtherEnvelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import Signature, SSlibKey  # type: ignore[attr-defined]
from tuf.api.dsse import SimpleEnvelope
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Root as TufRoot  # type: ignore[attr-defined]

from tests.vectors.make import FOLDER, texts
from towline.schemas import root, times, verifier
from towline.schemas.keys import PublicKey
from towline.schemas.problems import Refused
from towline.schemas.verifier import Clock, DeviceIdentity, TrustState


def kept(name: str) -> Any:
    return json.loads((FOLDER / f"{name}.json").read_bytes())


KEYS, ROOTS, DOCUMENTS = kept("keys"), kept("roots"), kept("documents")
OF_TUF = {"ok", "threshold", "root-version"}
"""What TUF's own rules decide; the rest is ours."""


def by_name(cases: list[dict[str, Any]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", [pytest.param(each, id=each["name"]) for each in cases])


def result_of(act: Any) -> str:
    try:
        act()
    except Refused as refused:
        return refused.code
    return "ok"


@pytest.mark.parametrize("name", list(texts()))
def test_the_same_bytes_are_made_again(name: str) -> None:
    assert (FOLDER / name).read_text(encoding="utf-8") == texts()[name]


@by_name(KEYS)
def test_a_key_is_the_same_to_securesystemslib(case: dict[str, Any]) -> None:
    ours = PublicKey.parse(case["key"])
    theirs = SSlibKey.from_dict(case["keyid"], dict(case["key"]))
    signed, signature = case["signed"].encode(), bytes.fromhex(case["signature"])
    assert OtherEnvelope(case["payload"].encode(), case["payloadType"], {}).pae() == signed
    theirs.verify_signature(Signature(case["keyid"], case["signature"]), signed)
    assert ours.is_signed(signature, signed)
    assert SSlibKey.from_crypto(theirs._crypto_key()).keyid == ours.keyid == case["keyid"]
    if case["name"] != "token":
        seed = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(case["secret"]))
        assert seed.sign(signed) == signature


@by_name(ROOTS["cases"])
def test_a_root_is_followed_or_refused(case: dict[str, Any]) -> None:
    trusted = root.trust_first(json.dumps(ROOTS["trusted"]).encode(), "acme")
    given = json.dumps(case["next"]).encode()
    assert result_of(lambda: root.succeed(trusted, given)) == case["result"]


def tuf_judges(old: bytes, new: bytes) -> str:
    """By the rules of python-tuf alone."""
    trusted = SimpleEnvelope.from_bytes(old).get_signed()
    assert isinstance(trusted, TufRoot)
    try:
        sealed = SimpleEnvelope.from_bytes(new)
        given = sealed.get_signed()
        assert isinstance(given, TufRoot)
        for authority in (trusted, given):
            authority.verify_delegate("root", sealed.pae(), sealed.signatures)
    except RepositoryError:
        return "threshold"
    return "ok" if given.version == trusted.version + 1 else "root-version"


@by_name([case for case in ROOTS["cases"] if case["result"] in OF_TUF])
def test_tuf_judges_a_root_alike(case: dict[str, Any]) -> None:
    old, new = (json.dumps(each).encode() for each in (ROOTS["trusted"], case["next"]))
    assert tuf_judges(old, new) == case["result"]


@by_name(DOCUMENTS["cases"])
def test_a_document_is_accepted_or_refused(case: dict[str, Any]) -> None:
    trust, clock, device = (DOCUMENTS[name] for name in ("trust", "clock", "device"))

    def verify() -> None:
        verifier.verify(
            json.dumps(case["envelope"]).encode(),
            root=root.trust_first(json.dumps(DOCUMENTS["root"]).encode()),
            identity=DeviceIdentity(
                device["organization"], device["id"], device["keyid"], device["deviceType"]
            ),
            trust=TrustState(
                trust["sequence"],
                times.from_rfc3339(trust["timeFloor"]),
                trust["rollbackIndexes"],
                tuple(trust["onlineKeyids"]),
            ),
            nonce=DOCUMENTS["nonce"],
            clock=Clock(times.from_rfc3339(clock["now"]), clock["isSynchronised"]),
        )

    assert result_of(verify) == case["result"]


@by_name(DOCUMENTS["cases"])
def test_securesystemslib_counts_the_signatures_of_a_document_alike(case: dict[str, Any]) -> None:
    """Of the document itself: `threshold` may also be said of a statement in it."""
    (online,) = [each for each in KEYS if each["name"] == "online"]
    key = SSlibKey.from_dict(online["keyid"], dict(online["key"]))
    theirs = OtherEnvelope.from_dict(json.loads(json.dumps(case["envelope"])))
    if case["name"].startswith("signed by"):
        with pytest.raises(VerificationError):
            theirs.verify([key], 1)
    else:
        assert set(theirs.verify([key], 1)) == {online["keyid"]}
