"""How a device renews its key: the old key vouches for the new one, which proves itself.

The request is an envelope signed by the old key; in it lies an enrolment that the new key signed.
"""

from dataclasses import dataclass

from towline.schemas import envelope, fields, strict_json
from towline.schemas.enrolment import EnrolmentRequest
from towline.schemas.envelope import Envelope
from towline.schemas.keys import PrivateKey, PublicKey
from towline.schemas.problems import Refused

RENEWAL_TYPE = "application/vnd.towline.renewal.v1+json"


@dataclass(frozen=True, slots=True)
class RenewalRequest:
    """A device asks to be known by another key from now on."""

    keyid: str
    """Of the old key."""
    enrolment: EnrolmentRequest
    """As a device with the new key would ask; id and organization are the device's own."""

    def sign(self, old: PrivateKey, new: PrivateKey) -> Envelope:
        """Signed by both."""
        payload = {
            "v": 1,
            "purpose": "renew",
            "organization": self.enrolment.organization,
            "device": self.enrolment.device,
            "deviceKey": self.keyid,
            "enrolment": self.enrolment.sign(new).document(),
        }
        return envelope.sign(RENEWAL_TYPE, strict_json.canonical(payload), old)

    @classmethod
    def read(cls, sealed: Envelope) -> "RenewalRequest":
        """The claims; the new key's signature is verified, the old one's NOT yet.

        Raises Refused.
        """
        document = strict_json.parse_object(sealed.payload)
        if document.get("v") != 1 or document.get("purpose") != "renew":
            raise Refused("version")
        inner = document.get("enrolment")
        if not isinstance(inner, dict):
            raise Refused("bad-field", "enrolment")
        enrolment = EnrolmentRequest.verify(envelope.from_document(inner))
        names = (fields.identifier(document, "organization"), fields.identifier(document, "device"))
        if names != (enrolment.organization, enrolment.device):
            raise Refused("bad-field", "the enrolment is of another device")
        return cls(fields.digest(document, "deviceKey"), enrolment)

    def verify(self, sealed: Envelope, old: PublicKey) -> None:
        """Raises Refused `threshold` unless the old key signed."""
        if old.keyid != self.keyid:
            raise Refused("unknown-device", "this is not the device's key")
        sealed.verify(RENEWAL_TYPE, [old], 1)
