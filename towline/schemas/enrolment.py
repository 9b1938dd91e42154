"""How a device introduces itself: the join string, the enrolment and the session request.

Both requests are envelopes signed by the device's own key; a session is answered with a bearer
token of about an hour, of which the server keeps only the SHA-256.
"""

import hashlib
from dataclasses import dataclass
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit

from towline.schemas import envelope, fields, strict_json, times
from towline.schemas.envelope import Envelope
from towline.schemas.identifiers import is_id
from towline.schemas.keys import PrivateKey, PublicKey
from towline.schemas.problems import Problem, Refused

ENROLMENT_TYPE = "application/vnd.towline.enrolment.v1+json"
SESSION_TYPE = "application/vnd.towline.session.v1+json"
_SCHEME = "towline+https"


@dataclass(frozen=True, slots=True)
class JoinString:
    """One line that brings a device to its server and closes trust on first use."""

    server: str
    """`https://host:port`."""
    organization: str
    token: str
    root: str
    """`sha256:<hex>` of root version 1 as served."""
    certificate: str | None = None
    """`sha256:<hex>` of the server's certificate in DER, when no public CA vouches for it."""

    def __str__(self) -> str:
        query = {"org": self.organization, "token": self.token, "root": self.root}
        if self.certificate:
            query["ca"] = self.certificate
        return f"towline+{self.server}/join?{urlencode(query, safe=':')}"

    @classmethod
    def parse(cls, text: str) -> "JoinString":
        """Read a join string; raises Problem with what is wrong."""
        parts = _address(text.strip())
        remedy = "copy the whole line that `towline join create` printed, in single quotes"
        if parts is None or parts.scheme != _SCHEME or parts.path != "/join":
            raise Problem(f"this is no join string: {text[:60]}", remedy=remedy)
        query = dict(parse_qsl(parts.query))
        missing = [name for name in ("org", "token", "root") if not query.get(name)]
        if missing or not is_id(query.get("org")):
            raise Problem(f"the join string lacks {', '.join(missing) or 'a name'}", remedy=remedy)
        return cls(
            server=f"https://{parts.netloc}",
            organization=query["org"],
            token=query["token"],
            root=query["root"],
            certificate=query.get("ca"),
        )


def _address(text: str) -> SplitResult | None:
    """The parts of an address that can be connected to; None for any other text."""
    try:
        parts = urlsplit(text)
        is_whole = bool(parts.hostname) and parts.port != 0 and "@" not in parts.netloc
    except ValueError:
        return None
    is_plain = text.isascii() and text.isprintable() and " " not in text
    return parts if is_whole and is_plain else None


@dataclass(frozen=True, slots=True)
class EnrolmentRequest:
    """A device asks to be known under an id and a key."""

    organization: str
    device: str
    public_key: PublicKey
    device_type: str
    agent: str
    """The agent's version."""

    def sign(self, key: PrivateKey) -> Envelope:
        """Signed by the very key that asks: proof of possession."""
        payload = {
            "v": 1,
            "purpose": "enrol",
            "organization": self.organization,
            "device": self.device,
            "publicKey": self.public_key.text(),
            "deviceType": self.device_type,
            "agent": self.agent,
        }
        return envelope.sign(ENROLMENT_TYPE, strict_json.canonical(payload), key)

    @classmethod
    def verify(cls, sealed: Envelope) -> "EnrolmentRequest":
        """The request, once signed by the key it names; raises Refused."""
        document = strict_json.parse_object(sealed.payload)
        if document.get("v") != 1 or document.get("purpose") != "enrol":
            raise Refused("version")
        key = PublicKey.from_text(fields.text(document, "publicKey", limit=100))
        sealed.verify(ENROLMENT_TYPE, [key], 1)
        return cls(
            organization=fields.identifier(document, "organization"),
            device=fields.identifier(document, "device"),
            public_key=key,
            device_type=fields.text(document, "deviceType", limit=63),
            agent=fields.text(document, "agent", limit=63),
        )


@dataclass(frozen=True, slots=True)
class SessionRequest:
    """A device proves its key and opens a journal."""

    organization: str
    device: str
    keyid: str
    nonce: str
    boot_id: str
    issued_at: int
    last_sequence: int

    def sign(self, key: PrivateKey) -> Envelope:
        """Signed by the device key."""
        payload = {
            "v": 1,
            "purpose": "session",
            "organization": self.organization,
            "device": self.device,
            "deviceKey": self.keyid,
            "nonce": self.nonce,
            "bootId": self.boot_id,
            "issuedAt": times.to_rfc3339(self.issued_at),
            "lastSequence": self.last_sequence,
        }
        return envelope.sign(SESSION_TYPE, strict_json.canonical(payload), key)

    @classmethod
    def read(cls, sealed: Envelope) -> "SessionRequest":
        """The claims, NOT yet verified: they name the device whose key must have signed."""
        document = strict_json.parse_object(sealed.payload)
        if document.get("v") != 1 or document.get("purpose") != "session":
            raise Refused("version")
        return cls(
            organization=fields.identifier(document, "organization"),
            device=fields.identifier(document, "device"),
            keyid=fields.digest(document, "deviceKey"),
            nonce=fields.text(document, "nonce", limit=64),
            boot_id=fields.text(document, "bootId", limit=64),
            issued_at=times.from_rfc3339(document.get("issuedAt")),
            last_sequence=fields.whole(document, "lastSequence"),
        )


def secret_digest(secret: str) -> str:
    """What is stored of a token: SHA-256; 256 random bits need no slow hash."""
    return hashlib.sha256(secret.encode()).hexdigest()
