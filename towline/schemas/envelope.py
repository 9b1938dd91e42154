"""The one envelope for everything signed: DSSE 1.0.2 with Ed25519.

https://github.com/secure-systems-lab/dsse: signs the exact bytes together with their type. A key id
in an envelope is only a hint; what counts is how many distinct keys have signed.
"""

import base64
import binascii
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from towline.schemas import strict_json
from towline.schemas.keys import PublicKey, Signer
from towline.schemas.problems import Refused

ENVELOPE_LIMIT_BYTES = 64 * 1024
SIGNATURES_LIMIT = 16


def pre_authentication_encoding(payload_type: str, payload: bytes) -> bytes:
    """What is signed: DSSE's PAE over type and payload."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


@dataclass(frozen=True, slots=True)
class Envelope:
    """A payload, its type and its signatures; nothing in it is believed before `verify`."""

    payload_type: str
    payload: bytes
    signatures: tuple[bytes, ...]
    keyids: tuple[str, ...] = ()

    def verify(self, payload_type: str, keys: Iterable[PublicKey], threshold: int) -> bytes:
        """The payload's bytes once `threshold` distinct keys have signed it.

        Raises Refused `payload-type` or `threshold`.
        """
        if self.payload_type != payload_type:
            raise Refused("payload-type", self.payload_type[:80])
        signed: set[PublicKey] = set()
        for key in self._likely_first(keys):
            if self._is_signed_by(key):
                signed.add(key)
            if 1 <= threshold <= len(signed):
                return self.payload
        raise Refused("threshold", f"{len(signed)} of {threshold} signatures")

    def _likely_first(self, keys: Iterable[PublicKey]) -> list[PublicKey]:
        """A false hint costs time and nothing else: every key is tried that may be needed."""
        known = list(keys)
        return sorted(known, key=lambda key: key.keyid not in self.keyids) if known[1:] else known

    def _is_signed_by(self, key: PublicKey) -> bool:
        message = pre_authentication_encoding(self.payload_type, self.payload)
        return any(key.is_signed(signature, message) for signature in self._likely_from(key))

    def _likely_from(self, key: PublicKey) -> Iterable[bytes]:
        """The signatures, the one that is said to be of that key first."""
        if not self.signatures[1:]:
            return self.signatures
        hinted = zip(self._keyids(), self.signatures, strict=True)
        return [each for _, each in sorted(hinted, key=lambda pair: pair[0] != key.keyid)]

    def signers(self, keys: Iterable[PublicKey]) -> frozenset[PublicKey]:
        """Those of `keys` that have signed it; whatever its type is."""
        return frozenset(key for key in keys if self._is_signed_by(key))

    def also_signed_by(self, *signers: Signer) -> "Envelope":
        """The same with more signatures; one that is there is not made again."""
        known = self.signers(signer.public for signer in signers)
        fresh = [signer for signer in signers if signer.public not in known]
        return self.with_signatures(sign(self.payload_type, self.payload, *fresh))

    def with_signatures(self, other: "Envelope") -> "Envelope":
        """The same with the signatures of another envelope of the same payload."""
        ours = list(zip(self._keyids(), self.signatures, strict=True))
        theirs = zip(other._keyids(), other.signatures, strict=True)
        ours += [each for each in theirs if each[1] not in self.signatures]
        return Envelope(
            self.payload_type,
            self.payload,
            tuple(signature for _, signature in ours),
            tuple(keyid for keyid, _ in ours),
        )

    def _keyids(self) -> tuple[str, ...]:
        return self.keyids or ("",) * len(self.signatures)

    def document(self) -> dict[str, Any]:
        """The envelope as JSON carries it."""
        return {
            "payload": _base64(self.payload),
            "payloadType": self.payload_type,
            "signatures": [
                {"keyid": keyid, "sig": _base64(signature)}
                for keyid, signature in zip(self._keyids(), self.signatures, strict=True)
            ],
        }

    def to_bytes(self) -> bytes:
        """Compact JSON, canonical as well; base64 needs no escaping."""
        signatures = ",".join(
            f'{{"keyid":{strict_json.text(keyid)},"sig":"{_base64(signature)}"}}'
            for keyid, signature in zip(self._keyids(), self.signatures, strict=True)
        )
        return (
            f'{{"payload":"{_base64(self.payload)}",'
            f'"payloadType":{strict_json.text(self.payload_type)},"signatures":[{signatures}]}}'
        ).encode()


def sign(payload_type: str, payload: bytes, *keys: Signer) -> Envelope:
    """An envelope signed by each of `keys`."""
    message = pre_authentication_encoding(payload_type, payload)
    return Envelope(
        payload_type,
        payload,
        tuple(key.sign(message) for key in keys),
        tuple(key.public.keyid for key in keys),
    )


def parse(data: bytes, *, least_signatures: int = 1) -> Envelope:
    """An envelope from JSON of at most 64 KiB; raises Refused with the reason.

    `least_signatures` is 0 for what is still to be signed.
    """
    if len(data) > ENVELOPE_LIMIT_BYTES:
        raise Refused("too-large", f"{len(data)} bytes")
    return from_document(strict_json.parse_object(data), least_signatures=least_signatures)


def from_document(document: Mapping[str, Any], *, least_signatures: int = 1) -> Envelope:
    """An envelope from its JSON object; raises Refused `envelope`, `sig-count` or `base64`."""
    if set(document) != {"payloadType", "payload", "signatures"}:
        raise Refused("envelope", "exactly payloadType, payload and signatures are expected")
    kind, payload, signatures = (document[k] for k in ("payloadType", "payload", "signatures"))
    if not isinstance(kind, str) or not isinstance(signatures, list):
        raise Refused("envelope")
    if not least_signatures <= len(signatures) <= SIGNATURES_LIMIT:
        raise Refused("sig-count", str(len(signatures)))
    if not all(isinstance(entry, dict) for entry in signatures):
        raise Refused("envelope")
    return Envelope(
        kind,
        _from_base64(payload),
        tuple(_from_base64(entry.get("sig")) for entry in signatures),
        tuple(str(entry.get("keyid", ""))[:64] for entry in signatures),
    )


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _from_base64(text: object) -> bytes:
    """DSSE verifiers must accept both base64 alphabets."""
    if not isinstance(text, str):
        raise Refused("base64")
    try:
        return base64.b64decode(text.replace("-", "+").replace("_", "/"), validate=True)
    except (binascii.Error, ValueError):
        raise Refused("base64") from None
