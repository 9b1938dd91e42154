"""The statement: the release key's signed word on one package file.

in-toto Statement v1 (https://github.com/in-toto/attestation) in a DSSE envelope. It lies at
`releases/<component>/<version>/<package file name>.json` in the fleet repository and travels inside
the device's document, so that neither the server nor git alone can put code on a device.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from towline.schemas import envelope, fields, strict_json, times
from towline.schemas.envelope import Envelope
from towline.schemas.keys import Signer
from towline.schemas.problems import Refused
from towline.schemas.root import Role

STATEMENT_TYPE = "application/vnd.in-toto+json"
_IN_TOTO = "https://in-toto.io/Statement/v1"
_PREDICATE = "https://towline.dev/release/v1"
FORMATS = ("script",)
"""Package formats that this version installs."""


@dataclass(frozen=True, slots=True)
class Statement:
    """One package file of a release: what it is, for whom, and how large it gets."""

    organization: str
    component: str
    version: str
    file_name: str
    sha256: str
    size: int
    """Bytes of the package file."""
    unpacked_size: int
    """Bytes of all files in it; the device's unpacker stops there."""
    files: int
    """Members of the archive; the device's unpacker stops there."""
    content_sha256: str
    """Of the uncompressed tar stream."""
    built_at: int
    format: str = "script"
    device_types: tuple[str, ...] = ()
    """Empty: any."""
    rollback_index: int = 0
    """A device never goes below the highest index it has committed."""

    def sign(self, *keys: Signer) -> Envelope:
        """The signed statement."""
        return envelope.sign(STATEMENT_TYPE, strict_json.canonical(self.document()), *keys)

    def document(self) -> dict[str, Any]:
        """The in-toto Statement."""
        return {
            "_type": _IN_TOTO,
            "subject": [{"name": self.file_name, "digest": {"sha256": self.sha256}}],
            "predicateType": _PREDICATE,
            "predicate": {
                "organization": self.organization,
                "component": self.component,
                "version": self.version,
                "deviceTypes": list(self.device_types),
                "format": self.format,
                "size": self.size,
                "unpackedSize": self.unpacked_size,
                "files": self.files,
                "contentSha256": self.content_sha256,
                "rollbackIndex": self.rollback_index,
                "builtAt": times.to_rfc3339(self.built_at),
            },
        }


def statement_path(component: str, version: str, file_name: str) -> str:
    """Where the statement lies in the fleet repository."""
    return f"releases/{component}/{version}/{file_name}.json"


def verify(sealed: Envelope, release: Role) -> Statement:
    """The statement once the release keys have signed it; raises Refused."""
    payload = sealed.verify(STATEMENT_TYPE, release.keys, release.threshold)
    document = strict_json.parse_object(payload)
    if document.get("_type") != _IN_TOTO:
        raise Refused("statement-type")
    if document.get("predicateType") != _PREDICATE:
        raise Refused("predicate-type")
    subjects = fields.sequence(document, "subject")
    if len(subjects) != 1 or not isinstance(subjects[0], dict):
        raise Refused("statement-subject")
    return _read(subjects[0], fields.mapping(document, "predicate"))


def _read(subject: Mapping[str, Any], predicate: Mapping[str, Any]) -> Statement:
    return Statement(
        organization=fields.identifier(predicate, "organization"),
        component=fields.identifier(predicate, "component"),
        version=fields.line(predicate, "version", limit=100),
        file_name=fields.line(subject, "name", limit=255),
        sha256=fields.digest(fields.mapping(subject, "digest"), "sha256"),
        size=fields.whole(predicate, "size", least=1),
        unpacked_size=fields.whole(predicate, "unpackedSize"),
        files=fields.whole(predicate, "files"),
        content_sha256=fields.digest(predicate, "contentSha256"),
        built_at=times.from_rfc3339(predicate.get("builtAt")),
        format=fields.line(predicate, "format", limit=80),
        device_types=fields.texts(predicate, "deviceTypes"),
        rollback_index=fields.whole(predicate, "rollbackIndex"),
    )


def misfit(
    statement: Statement,
    *,
    organization: str,
    component: str,
    version: str,
    sha256: str,
    package_format: str | None = None,
) -> str:
    """What differs between a statement and what is wanted, in words; empty when it fits."""
    pairs = (
        ("organization", statement.organization, organization),
        ("component", statement.component, component),
        ("version", statement.version, version),
        ("checksum", statement.sha256, sha256),
        ("format", statement.format, package_format or statement.format),
    )
    for name, signed, wanted in pairs:
        if signed != wanted:
            return f"the statement is for {name} {signed}, wanted is {wanted}"
    return ""
