"""Keys by URI: securesystemslib's own signers sign, and ours verifies; the file form beside it.

A token or a key service cannot be had in a test. `file2:` is securesystemslib's signer of key
files, reached in the same way as `hsm:` and `awskms:`, here with a key of each kind.
"""

from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from securesystemslib.signer import (  # type: ignore[attr-defined]
    SIGNER_FOR_URI_SCHEME,
    Signature,
    Signer,
)

from tests.cli.production import Production
from tests.schemas.documents import EVIL_KEY
from towline.cli import root_drafts, signers
from towline.schemas.keys import ED25519, P256
from towline.schemas.problems import Problem


@pytest.fixture(params=[P256, ED25519])
def token(tmp_path: Path, request: pytest.FixtureRequest) -> str:
    """The URI of a key, with its public key behind #."""
    key = (
        ec.generate_private_key(ec.SECP256R1())
        if request.param == P256
        else ed25519.Ed25519PrivateKey.generate()
    )
    pem = serialization.Encoding.PEM
    (tmp_path / "token.pem").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    (tmp_path / "token.pub").write_bytes(
        key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    return f"file2:{tmp_path / 'token.pem'}#{tmp_path / 'token.pub'}"


def test_a_token_takes_part_in_a_root_and_signs_releases(
    token: str, acme: Production, capsys: pytest.CaptureFixture[str]
) -> None:
    """Named by its public key, it signs by its key id afterwards."""
    public = signers.public_key(token)
    acme.run("trust", "rotate", "root", "--new", token, "--threshold", "3")
    acme.run("trust", "rotate", "release", "--new", token)
    assert acme.sign("root-1", "root-2") == 0
    uri = f"{token.split('#', 1)[0]}#{public.keyid[:8]}"
    assert acme.run("trust", "sign", "--key", uri) == 0
    assert acme.run("release", "resign", "--all-live", "--key", uri) == 0
    assert acme.run("trust", "publish") == 0
    assert public in acme.newest.root.keys
    assert acme.newest.release.keys == (public,)
    assert acme.run("trust", "verify") == 0
    capsys.readouterr()
    assert acme.run("release", "inspect", str(acme.statement)) == 0
    assert f"by {public.keyid[:12]} of root 2" in capsys.readouterr().out


ERRORS = {
    "odd:wrong": None,
    "odd:slow": TimeoutError("no answer in 10 s"),
    "odd:silent": TimeoutError(),
}


class OddSigner(Signer):
    """A key service that signs with whatever it likes, or not at all."""

    def __init__(self, public: Any, error: Exception | None) -> None:
        self._public = public
        self._error = error

    @property
    def public_key(self) -> Any:
        return self._public

    @classmethod
    def from_priv_key_uri(cls, uri: str, public: Any, _: Any = None) -> "OddSigner":
        return cls(public, ERRORS[uri])

    def sign(self, payload: bytes) -> Any:
        if self._error is not None:
            raise self._error
        return Signature(self._public.keyid, EVIL_KEY.sign(payload).hex())


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("odd:wrong", "signs with another key than"),
        ("odd:slow", "cannot sign: no answer in 10 s"),
        ("odd:silent", "cannot sign: TimeoutError"),
    ],
)
def test_a_service_is_believed_only_what_verifies(
    uri: str, words: str, acme: Production, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SIGNER_FOR_URI_SCHEME, "odd", OddSigner)
    with pytest.raises(Problem, match=words):
        signers.load(f"{uri}#", acme.newest.release.keys).sign(b"message")


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("hsm:2#NOBODY", "may be any of the keys"),
        ("nonesuch:1#KEYID", "Unsupported private key scheme nonesuch"),
        ("awskms:alias/root#KEYID", "pip install 'securesystemslib[awskms]'"),
        ("missing.pem", "the key missing.pem cannot be read"),
        ("file:missing.pem", "the key missing.pem cannot be read"),
        ("PUBLIC", "is a public key, and signs nothing"),
    ],
)
def test_what_cannot_sign_is_told_with_the_way_out(
    key: str, words: str, acme: Production, capsys: pytest.CaptureFixture[str]
) -> None:
    acme.run("trust", "bump")
    draft = root_drafts.find(acme.fleet)
    assert draft is not None
    key = key.replace("KEYID", draft.root.root.keys[0].keyid[:10])
    key = key.replace("PUBLIC", acme.key("root-1") + ".pub")
    assert acme.run("trust", "sign", "--key", key) == 1
    assert words in capsys.readouterr().err
    assert draft.path.read_bytes() == draft.sealed.to_bytes()
