"""The signed document of one device: what each of its components should run now.

The server builds it, the device parses it only after the envelope was verified. The ETag is the
digest of the components alone, so that nothing but a change of what is wanted is a new document.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from towline.schemas import envelope, fields, strict_json, times, window_words
from towline.schemas.envelope import ENVELOPE_LIMIT_BYTES, Envelope
from towline.schemas.keys import PrivateKey
from towline.schemas.problems import Refused
from towline.schemas.windows import Window

DESIRED_STATE_TYPE = "application/vnd.towline.desired.v1+json"
COMPONENTS_LIMIT = 24
COMPONENTS_BYTES = (ENVELOPE_LIMIT_BYTES - 1024) * 3 // 4 - 1024
"""What all components have room for: base64 makes 4 bytes of 3, and a kibibyte each is for the
rest of the envelope and the rest of the document."""
POLL_LIMIT_S = 86400
"""A device looks at least once a day, whatever a stolen online key says."""
TIME_LIMIT_S = 7 * 86400
KNOWN_CRITICAL: frozenset[str] = frozenset({"components"})


class ComponentAction(StrEnum):
    """What the device does with a component."""

    PREPARE = "prepare"
    """Download, verify and stage; do not install."""
    INSTALL = "install"
    """Converge to this release: the device holds a grant."""
    ROLLBACK = "rollback"
    """Go back to this release, which the device has had before."""
    KEEP = "keep"
    """This is what it should be running; begin nothing."""


@dataclass(frozen=True, slots=True)
class ComponentWanted:
    """One component of a device's document."""

    name: str
    action: ComponentAction
    version: str
    sha256: str
    size: int
    urls: tuple[str, ...]
    deployment: str
    revision: str
    attempt: int
    commit: str
    statement: Envelope
    install_timeout_s: int = 600
    device_timeout_s: int = 3600
    health: tuple[dict[str, Any], ...] = ()
    """Each `{name, delay, period, successes, timeout, http | tcp | script}`, times in seconds."""
    rolls_back: bool = True
    """A device on which it fails goes back by itself."""
    windows: tuple[Window, ...] = ()
    """An install may start only inside."""
    time_zone: str | None = None
    """The device's own; None = UTC."""

    def document(self) -> dict[str, Any]:
        """The component as the document carries it."""
        return {
            "name": self.name,
            "action": self.action.value,
            "version": self.version,
            "sha256": self.sha256,
            "size": self.size,
            "urls": list(self.urls),
            "deployment": self.deployment,
            "revision": self.revision,
            "attempt": self.attempt,
            "commit": self.commit,
            "statement": self.statement.document(),
            "install": {"timeout": self.install_timeout_s, "reboot": "never"},
            "hooks": {},
            "health": list(self.health),
            "windows": [window_words.document(window) for window in self.windows],
            "timeZone": self.time_zone,
            "deltas": [],
            "rollback": {"automatic": self.rolls_back},
            "deviceTimeout": self.device_timeout_s,
        }


@dataclass(frozen=True, slots=True)
class Heading:
    """All of a document but its components: whose it is, what it answers, until when it holds."""

    organization: str
    device: str
    device_key: str
    nonce: str
    sequence: int
    issued_at: int
    expires: int
    root_version: int
    poll_after_s: int
    version: int = field(default=1, kw_only=True)
    critical: tuple[str, ...] = field(default=(), kw_only=True)

    def sign_over(self, written: bytes, key: PrivateKey) -> Envelope:
        """The envelope that the device gets, with components as `write` made them."""
        # As `strict_json.canonical` writes it, in a quarter of the time: thousands are signed when
        # a batch opens. None of these keys comes before `components`.
        text = strict_json.text
        rest = (
            f',"crit":[{",".join(map(text, self.critical))}]'
            f',"device":{text(self.device)}'
            f',"deviceKey":{text(self.device_key)}'
            f',"expires":{text(times.to_rfc3339(self.expires))}'
            f',"issuedAt":{text(times.to_rfc3339(self.issued_at))}'
            f',"nonce":{text(self.nonce)}'
            f',"organization":{text(self.organization)}'
            f',"pollAfter":{self.poll_after_s}'
            f',"rootVersion":{self.root_version}'
            f',"sequence":{self.sequence}'
            f',"v":{self.version}}}'
        )
        payload = b'{"components":' + written + rest.encode()
        return envelope.sign(DESIRED_STATE_TYPE, payload, key)


@dataclass(frozen=True, slots=True)
class DesiredState(Heading):
    """A whole document, as the device reads it."""

    components: tuple[ComponentWanted, ...]

    def sign(self, key: PrivateKey) -> Envelope:
        """The envelope that the device gets."""
        return self.sign_over(write(self.components), key)


def write(components: Sequence[ComponentWanted]) -> bytes:
    """Components as they stand in a document: the same bytes for all devices that get the same."""
    return strict_json.canonical([component.document() for component in components])


def etag(components: Sequence[ComponentWanted]) -> str:
    """The entity tag, in quotes: the digest of the components without their commits."""
    documents = []
    for component in components:
        document = component.document()
        del document["commit"]
        documents.append(document)
    return f'"{hashlib.sha256(strict_json.canonical(documents)).hexdigest()[:32]}"'


def parse_payload(data: bytes) -> DesiredState:
    """A document from the very bytes that were verified; raises Refused."""
    document = strict_json.parse_object(data)
    if document.get("v") != 1 or isinstance(document.get("v"), bool):
        raise Refused("version")
    critical = fields.texts(document, "crit")
    if not set(critical) <= KNOWN_CRITICAL:
        raise Refused("unknown-critical", ", ".join(critical))
    sequence = document.get("sequence")
    if not isinstance(sequence, int) or isinstance(sequence, bool) or sequence < 0:
        raise Refused("sequence-type")
    components = fields.sequence(document, "components")
    if len(components) > COMPONENTS_LIMIT:
        raise Refused("too-many-components", str(len(components)))
    return DesiredState(
        organization=fields.identifier(document, "organization"),
        device=fields.identifier(document, "device"),
        device_key=fields.digest(document, "deviceKey"),
        nonce=fields.line(document, "nonce", limit=64),
        sequence=sequence,
        issued_at=times.from_rfc3339(document.get("issuedAt")),
        expires=times.from_rfc3339(document.get("expires")),
        root_version=fields.whole(document, "rootVersion", least=1),
        poll_after_s=fields.whole(document, "pollAfter", least=1, most=POLL_LIMIT_S),
        components=tuple(_component(component) for component in components),
        critical=critical,
    )


def _component(document: Any) -> ComponentWanted:
    if not isinstance(document, dict):
        raise Refused("bad-field", "components")
    try:
        action = ComponentAction(fields.text(document, "action"))
    except ValueError:
        raise Refused("bad-field", "action") from None
    return ComponentWanted(
        name=fields.identifier(document, "name"),
        action=action,
        version=fields.line(document, "version", limit=100),
        sha256=fields.digest(document, "sha256"),
        size=fields.whole(document, "size", least=1),
        urls=fields.texts(document, "urls"),
        deployment=fields.line(document, "deployment", limit=64),
        revision=fields.digest(document, "revision"),
        attempt=fields.whole(document, "attempt", least=1),
        commit=fields.line(document, "commit", limit=64),
        statement=envelope.from_document(fields.mapping(document, "statement")),
        install_timeout_s=fields.whole(
            fields.mapping(document, "install"), "timeout", least=1, most=TIME_LIMIT_S
        ),
        device_timeout_s=fields.whole(document, "deviceTimeout", least=1, most=TIME_LIMIT_S),
        rolls_back=_rolls_back(document),
        health=tuple(_health(check) for check in fields.sequence(document, "health")),
        windows=window_words.parse(document.get("windows")),
        time_zone=fields.optional_text(document, "timeZone", limit=64),
    )


def _rolls_back(document: Mapping[str, Any]) -> bool:
    automatic = fields.mapping(document, "rollback").get("automatic", True)
    if not isinstance(automatic, bool):
        raise Refused("bad-field", "rollback.automatic")
    return automatic


_PROBES = ("http", "tcp", "script")


def _health(document: Any) -> dict[str, Any]:
    """Refuse a check that this agent could not carry out: an unasked check never passes."""
    if not isinstance(document, dict):
        raise Refused("bad-field", "health")
    fields.text(document, "name", limit=100)
    for name, least in (("delay", 0), ("period", 1), ("successes", 1), ("timeout", 1)):
        fields.whole(document, name, least=least, most=TIME_LIMIT_S)
    probes = [name for name in _PROBES if name in document]
    if len(probes) != 1:
        raise Refused("unsupported-health", str(document.get("name")))
    _probe(probes[0], document)
    return document


def _probe(kind: str, check: Mapping[str, Any]) -> None:
    if kind == "script":
        fields.text(check, "script", limit=255)
        return
    probe = fields.mapping(check, kind)
    fields.whole(probe, "port", least=1, most=65535)
    if kind == "http":
        fields.text(probe, "path", limit=1024)
        fields.whole(probe, "status", least=100)
