"""Keys: ids, signatures, and how they lie in files.

Everything that Towline signs itself is Ed25519. Offline keys may also be ECDSA on P-256 with
SHA-256, because that is what hardware tokens and the clouds' key services sign with. A key id is
the SHA-256 of the canonical public-key JSON, as in TUF and securesystemslib.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)

from towline.schemas import strict_json
from towline.schemas.problems import Problem, Refused

ED25519 = "ed25519"
P256 = "ecdsa-sha2-nistp256"
KEY_TYPES = {ED25519: "ed25519", P256: "ecdsa"}
"""Each signature scheme that is known, and its kind of key as TUF names it."""


class Signer(Protocol):
    """Whatever signs for a public key: a key in memory, a hardware token, a key service."""

    @property
    def public(self) -> "PublicKey":
        """The key that the signatures are of."""

    def sign(self, message: bytes) -> bytes:
        """The signature over a message."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A public key by its raw bytes: 32 of Ed25519 (RFC 8032), or a P-256 point, uncompressed."""

    raw: bytes
    scheme: str = ED25519

    @property
    def keyid(self) -> str:
        """64 hex digits: SHA-256 of the canonical public-key JSON."""
        return _keyid(self)

    def document(self) -> dict[str, Any]:
        """The key as TUF writes it."""
        public = self.raw.hex() if self.scheme == ED25519 else self.pem().decode()
        kind = KEY_TYPES[self.scheme]
        return {"keytype": kind, "scheme": self.scheme, "keyval": {"public": public}}

    def text(self) -> str:
        """`ed25519:<64 hex digits>`: as it stands in manifests of kind Device."""
        return f"ed25519:{self.raw.hex()}"

    def pem(self) -> bytes:
        """SubjectPublicKeyInfo, as openssl and key services write it."""
        key: Ed25519PublicKey | ec.EllipticCurvePublicKey = (
            Ed25519PublicKey.from_public_bytes(self.raw)
            if self.scheme == ED25519
            else _point(self.raw)
        )
        return key.public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    def is_signed(self, signature: bytes, message: bytes) -> bool:
        """True when `signature` is this key's over `message`."""
        try:
            if self.scheme == ED25519:
                Ed25519PublicKey.from_public_bytes(self.raw).verify(signature, message)
            else:
                _point(self.raw).verify(signature, message, ec.ECDSA(hashes.SHA256()))
        except (InvalidSignature, ValueError):
            return False
        return True

    @classmethod
    def parse(cls, document: Any) -> "PublicKey":
        """From a TUF key object; raises Refused `key`."""
        if not isinstance(document, dict) or not isinstance(document.get("keyval"), dict):
            raise Refused("key")
        kind, scheme = document.get("keytype"), document.get("scheme")
        public = document["keyval"].get("public")
        if (scheme, kind) == (ED25519, KEY_TYPES[ED25519]):
            return cls.from_hex(public)
        if (scheme, kind) != (P256, KEY_TYPES[P256]):
            raise Refused("key", f"only {' and '.join(KEY_TYPES)} are known")
        key = cls.from_pem(public.encode() if isinstance(public, str) else b"")
        # Only as we write it: another spelling of the same key would have another id.
        if key.document()["keyval"]["public"] != public:
            raise Refused("key", "not in canonical form")
        return key

    @classmethod
    def from_pem(cls, data: bytes) -> "PublicKey":
        """From SubjectPublicKeyInfo in PEM form; raises Refused `key`."""
        try:
            key = serialization.load_pem_public_key(data)
        except (ValueError, UnsupportedAlgorithm):
            raise Refused("key", "a public key in PEM form is expected") from None
        if isinstance(key, Ed25519PublicKey):
            return _of_ed25519(key)
        if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
            raw = key.public_bytes(
                serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
            )
            return cls(raw, P256)
        raise Refused("key", f"only {' and '.join(KEY_TYPES)} are known")

    @classmethod
    def from_text(cls, text: str) -> "PublicKey":
        """From `ed25519:<hex>`; raises Refused `key`."""
        return cls.from_hex(text.removeprefix("ed25519:"))

    @classmethod
    def from_hex(cls, text: object) -> "PublicKey":
        """From 64 hex digits of an Ed25519 key; raises Refused `key`."""
        try:
            raw = bytes.fromhex(text) if isinstance(text, str) and len(text) == 64 else b""
        except ValueError:
            raw = b""
        if len(raw) != 32:
            raise Refused("key", "64 hex digits are expected")
        return cls(raw)


@lru_cache(1024)
def _keyid(key: PublicKey) -> str:
    # The canonical form of TUF and securesystemslib leaves the lines of a PEM as they are.
    canonical = strict_json.canonical(key.document()).replace(b"\\n", b"\n")
    return hashlib.sha256(canonical).hexdigest()


def _point(raw: bytes) -> ec.EllipticCurvePublicKey:
    return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), raw)


def _of_ed25519(key: Ed25519PublicKey) -> PublicKey:
    return PublicKey(key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw))


class PrivateKey:
    """An Ed25519 signing key; kept in PEM files of PKCS#8 with mode 0600."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public = _of_ed25519(key.public_key())

    @classmethod
    def generate(cls) -> "PrivateKey":
        """A new key from the system's randomness."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def from_raw(cls, raw: bytes) -> "PrivateKey":
        """From 32 raw bytes, for test vectors."""
        return cls(Ed25519PrivateKey.from_private_bytes(raw))

    @classmethod
    def load(cls, path: Path, passphrase: Callable[[], bytes] | None = None) -> "PrivateKey":
        """Read a PEM file; raises Problem when it is missing or no Ed25519 key.

        `passphrase` is asked for one only when the file is encrypted.
        """
        try:
            data = path.read_bytes()
        except OSError as error:
            raise Problem(f"the key {path} cannot be read: {error.strerror}") from None
        secret = None
        if is_encrypted(data):
            if passphrase is None:
                raise Problem(f"the key {path} is encrypted, and nobody can be asked")
            secret = passphrase()
        try:
            key = serialization.load_pem_private_key(data, password=secret)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            if secret is not None:
                raise Problem(f"this is not the passphrase of the key {path}") from None
            raise Problem(f"{path} is no private key in PEM form") from None
        if not isinstance(key, Ed25519PrivateKey):
            raise Problem(f"{path} is not an Ed25519 key")
        return cls(key)

    def pem(self, passphrase: bytes | None = None) -> bytes:
        """PKCS#8 PEM, encrypted when there is a passphrase."""
        return self._key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(passphrase)
            if passphrase
            else serialization.NoEncryption(),
        )

    def sign(self, message: bytes) -> bytes:
        """64 bytes."""
        return self._key.sign(message)


def is_encrypted(pem: bytes) -> bool:
    """True when a PEM file cannot be read without a passphrase."""
    return b"-----BEGIN ENCRYPTED PRIVATE KEY-----" in pem
