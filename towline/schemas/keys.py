"""Ed25519 keys: ids, signatures, and how they lie in files.

A key id is the SHA-256 of the canonical public-key JSON, as in TUF and securesystemslib.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)

from towline.schemas import strict_json
from towline.schemas.problems import Problem, Refused


@dataclass(frozen=True, slots=True)
class PublicKey:
    """An Ed25519 public key by its 32 raw bytes (RFC 8032)."""

    raw: bytes

    @property
    def keyid(self) -> str:
        """64 hex digits: SHA-256 of the canonical public-key JSON."""
        return hashlib.sha256(strict_json.canonical(self.document())).hexdigest()

    def document(self) -> dict[str, Any]:
        """The key as TUF writes it."""
        return {"keytype": "ed25519", "scheme": "ed25519", "keyval": {"public": self.raw.hex()}}

    def text(self) -> str:
        """`ed25519:<64 hex digits>`: as it stands in manifests of kind Device."""
        return f"ed25519:{self.raw.hex()}"

    def is_signed(self, signature: bytes, message: bytes) -> bool:
        """True when `signature` is this key's over `message`."""
        try:
            Ed25519PublicKey.from_public_bytes(self.raw).verify(signature, message)
        except (InvalidSignature, ValueError):
            return False
        return True

    @classmethod
    def parse(cls, document: Any) -> "PublicKey":
        """From a TUF key object; raises Refused `key`."""
        if not isinstance(document, dict) or not isinstance(document.get("keyval"), dict):
            raise Refused("key")
        if document.get("keytype") != "ed25519" or document.get("scheme") != "ed25519":
            raise Refused("key", "only ed25519 is known")
        return cls.from_hex(document["keyval"].get("public"))

    @classmethod
    def from_text(cls, text: str) -> "PublicKey":
        """From `ed25519:<hex>`; raises Refused `key`."""
        return cls.from_hex(text.removeprefix("ed25519:"))

    @classmethod
    def from_hex(cls, text: object) -> "PublicKey":
        """From 64 hex digits; raises Refused `key`."""
        try:
            raw = bytes.fromhex(text) if isinstance(text, str) and len(text) == 64 else b""
        except ValueError:
            raw = b""
        if len(raw) != 32:
            raise Refused("key", "64 hex digits are expected")
        return cls(raw)


class PrivateKey:
    """An Ed25519 signing key; kept in PEM files of PKCS#8 with mode 0600."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public = PublicKey(
            key.public_key().public_bytes(
                serialization.Encoding.Raw, serialization.PublicFormat.Raw
            )
        )

    @classmethod
    def generate(cls) -> "PrivateKey":
        """A new key from the system's randomness."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def from_raw(cls, raw: bytes) -> "PrivateKey":
        """From 32 raw bytes, for test vectors."""
        return cls(Ed25519PrivateKey.from_private_bytes(raw))

    @classmethod
    def load(cls, path: Path) -> "PrivateKey":
        """Read a PEM file; raises Problem when it is missing or no Ed25519 key."""
        try:
            key = serialization.load_pem_private_key(path.read_bytes(), password=None)
        except OSError as error:
            raise Problem(f"the key {path} cannot be read: {error.strerror}") from None
        except (ValueError, TypeError):
            raise Problem(f"{path} is no private key in PEM form") from None
        if not isinstance(key, Ed25519PrivateKey):
            raise Problem(f"{path} is not an Ed25519 key")
        return cls(key)

    def pem(self) -> bytes:
        """PKCS#8 PEM without a password."""
        return self._key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )

    def sign(self, message: bytes) -> bytes:
        """64 bytes."""
        return self._key.sign(message)
