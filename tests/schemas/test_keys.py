"""Keys of both kinds and their files; ids and signatures agree with securesystemslib."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from securesystemslib.signer import CryptoSigner, Signature, SSlibKey  # type: ignore[attr-defined]

from tests.schemas.documents import EVIL_KEY, RELEASE_KEY, code_of, make_root
from towline.schemas import envelope, root
from towline.schemas.keys import P256, PrivateKey, PublicKey
from towline.schemas.problems import Problem
from towline.schemas.root import Role

MESSAGE = b"message"


class Ecdsa:
    """A P-256 key in memory, as a token holds one."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.public = PublicKey.from_pem(pem(self._key.public_key()))

    def sign(self, message: bytes) -> bytes:
        return self._key.sign(message, ec.ECDSA(hashes.SHA256()))


def pem(key: ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


TOKEN = Ecdsa()


def test_a_key_of_a_token_is_the_same_key_to_securesystemslib() -> None:
    words = TOKEN.public.document()
    theirs = SSlibKey(TOKEN.public.keyid, words["keytype"], words["scheme"], words["keyval"])
    theirs.verify_signature(Signature(theirs.keyid, TOKEN.sign(MESSAGE).hex()), MESSAGE)
    signer = CryptoSigner.generate_ecdsa()
    ours = PublicKey.parse(signer.public_key.to_dict())
    assert (ours.keyid, ours.scheme) == (signer.public_key.keyid, P256)
    assert ours.is_signed(bytes.fromhex(signer.sign(MESSAGE).signature), MESSAGE)


def test_only_its_own_signature_over_the_same_bytes_counts() -> None:
    other, signature = Ecdsa(), TOKEN.sign(MESSAGE)
    assert TOKEN.public.is_signed(signature, MESSAGE)
    assert not TOKEN.public.is_signed(signature, b"other")
    assert not other.public.is_signed(signature, MESSAGE)
    assert not TOKEN.public.is_signed(b"", MESSAGE)
    assert not EVIL_KEY.public.is_signed(signature, MESSAGE)


def test_a_token_counts_among_other_root_keys() -> None:
    role = Role((EVIL_KEY.public, TOKEN.public), 2)
    made = make_root(root=role)
    assert root.trust_first(made.sign(EVIL_KEY, TOKEN)) == made
    assert code_of(lambda: root.trust_first(made.sign(TOKEN, TOKEN))) == "threshold"


def test_another_spelling_of_a_key_would_be_a_second_key_and_is_refused() -> None:
    document = TOKEN.public.document()
    assert PublicKey.parse(document) == TOKEN.public
    text = document["keyval"]["public"]
    for other in (text + "\n", text.replace("\n", "\r\n"), f"comment\n{text}", text.strip()):
        document["keyval"]["public"] = other
        assert code_of(lambda: PublicKey.parse(document)) == "key"


@pytest.mark.parametrize(
    "change",
    [
        {"scheme": "ed25519"},
        {"keytype": "ed25519"},
        {"scheme": "ecdsa-sha2-nistp384"},
        {"keyval": {"public": 7}},
        {"keyval": {"public": "-----BEGIN PUBLIC KEY-----"}},
        {"keyval": {"public": pem(ec.generate_private_key(ec.SECP384R1()).public_key()).decode()}},
        {"keyval": {"public": EVIL_KEY.public.pem().decode()}},
    ],
)
def test_a_key_of_another_kind_is_refused(change: dict[str, object]) -> None:
    assert code_of(lambda: PublicKey.parse(TOKEN.public.document() | change)) == "key"


@pytest.mark.parametrize("document", [None, [], "key", {}, {"keyval": None}, {"keyval": "ab"}])
def test_what_is_no_key_at_all_is_refused(document: object) -> None:
    assert code_of(lambda: PublicKey.parse(document)) == "key"


def test_64_digits_are_a_key_and_the_same_with_spaces_are_none() -> None:
    digits = EVIL_KEY.public.raw.hex()
    assert PublicKey.from_hex(digits) == EVIL_KEY.public
    for other in (f"{digits[:2]} {digits[2:]}", digits[2:], f"{digits}ab", "g" * 64, 5, None):
        assert code_of(lambda other=other: PublicKey.from_hex(other)) == "key"  # type: ignore[misc]


def test_a_file_that_is_no_signing_key_is_a_problem(tmp_path: Path) -> None:
    file = tmp_path / "key.pem"
    with pytest.raises(Problem, match="cannot be read: No such file"):
        PrivateKey.load(file)
    file.write_bytes(b"no key")
    with pytest.raises(Problem, match="is no private key in PEM form"):
        PrivateKey.load(file)
    plain = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8)
    other = ec.generate_private_key(ec.SECP256R1())
    file.write_bytes(other.private_bytes(*plain, serialization.NoEncryption()))
    with pytest.raises(Problem, match="is not an Ed25519 key"):
        PrivateKey.load(file)


def test_an_encrypted_file_opens_with_its_passphrase_alone(tmp_path: Path) -> None:
    (file := tmp_path / "key.pem").write_bytes(EVIL_KEY.pem(b"correct"))
    assert PrivateKey.load(file, lambda: b"correct").public == EVIL_KEY.public
    with pytest.raises(Problem, match="is not the passphrase of the key"):
        PrivateKey.load(file, lambda: b"wrong")
    with pytest.raises(Problem, match="is encrypted, and nobody can be asked"):
        PrivateKey.load(file)


SCRYPT = b"""\
-----BEGIN ENCRYPTED PRIVATE KEY-----
MIGTME8GCSqGSIb3DQEFDTBCMCEGCSsGAQQB2kcECzAUBAgDgg7y/VkvMwICQAAC
AQgCAQEwHQYJYIZIAWUDBAEqBBAZg0qWOeJ6JN3NnvPQ2tX3BEB3nDUWI+1vdmh2
lU6Y9mt9r6ARoENBF7Z5XddNVET8HDa6O6zWQGi/6s7pQw9JO2Ou9iW1AA9x8nv2
/n2MAoTn
-----END ENCRYPTED PRIVATE KEY-----
"""
"""By `openssl pkcs8 -topk8 -scrypt`, as docs/trust.md tells."""


def test_a_file_that_openssl_encrypted_anew_opens(tmp_path: Path) -> None:
    (file := tmp_path / "key.pem").write_bytes(SCRYPT)
    key = PrivateKey.load(file, lambda: b"another one")
    assert key.public == PrivateKey.from_raw(b"k" * 32).public


def test_nobody_is_asked_for_the_passphrase_of_an_open_file(tmp_path: Path) -> None:
    (file := tmp_path / "key.pem").write_bytes(EVIL_KEY.pem())
    assert PrivateKey.load(file, lambda: pytest.fail("asked")).public == EVIL_KEY.public


def test_signatures_of_several_people_come_together() -> None:
    first = envelope.sign("application/x", MESSAGE)
    assert code_of(lambda: envelope.parse(first.to_bytes())) == "sig-count"
    first = envelope.parse(first.to_bytes(), least_signatures=0)
    one, two = first.also_signed_by(EVIL_KEY), first.also_signed_by(RELEASE_KEY)
    both = one.with_signatures(two).also_signed_by(EVIL_KEY, RELEASE_KEY)
    assert len(both.signatures) == 2
    keys = [EVIL_KEY.public, RELEASE_KEY.public]
    assert envelope.parse(both.to_bytes()).verify("application/x", keys, 2) == MESSAGE
    assert both.keyids == tuple(key.keyid for key in keys)


def test_nobody_takes_up_room_twice() -> None:
    """An envelope holds sixteen signatures, and a token signs otherwise each time."""
    draft = envelope.Envelope("application/x", MESSAGE, ())
    once = draft.also_signed_by(TOKEN)
    assert once.also_signed_by(TOKEN) == once
    both = once.also_signed_by(EVIL_KEY)
    assert once.with_signatures(both) == both
