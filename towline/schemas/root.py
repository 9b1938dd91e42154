"""The root of trust: a TUF 1.0 Root payload in a DSSE envelope.

Role `targets` holds the release keys, `timestamp` the online key; `snapshot` is present with no
keys, because TUF wants its name. A root is replaced only by version N+1, signed by the threshold
of the old and of the new root keys (TUF specification 1.0, section 5.3).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from towline.schemas import envelope, fields, strict_json, times
from towline.schemas.identifiers import is_id
from towline.schemas.keys import PublicKey, Signer
from towline.schemas.problems import Refused

ROOT_TYPE = "application/vnd.tuf+json"
SPEC_VERSION = "1.0.31"
_ROLES = ("root", "targets", "timestamp", "snapshot")


@dataclass(frozen=True, slots=True)
class Role:
    """The keys that may speak for a role, and how many of them must."""

    keys: tuple[PublicKey, ...]
    threshold: int


@dataclass(frozen=True, slots=True)
class Root:
    """Who may say what in one organization."""

    version: int
    organization: str
    expires: int
    """Seconds since the epoch."""
    root: Role
    release: Role
    online: Role
    is_development: bool = False
    """Made by `towline init` with throw-away keys; the agent warns as long as it stands."""

    def payload(self) -> bytes:
        """The TUF Root payload."""
        roles = {
            "root": self.root,
            "targets": self.release,
            "timestamp": self.online,
            "snapshot": Role((), 1),
        }
        keys = {key.keyid: key.document() for role in roles.values() for key in role.keys}
        document: dict[str, Any] = {
            "_type": "root",
            "spec_version": SPEC_VERSION,
            "version": self.version,
            "expires": times.to_rfc3339(self.expires),
            "consistent_snapshot": True,
            "keys": keys,
            "roles": {
                name: {"keyids": [key.keyid for key in role.keys], "threshold": role.threshold}
                for name, role in roles.items()
            },
            "x-towline-org": self.organization,
        }
        if self.is_development:
            document["x-towline-dev"] = True
        return strict_json.canonical(document)

    def sign(self, *keys: Signer) -> bytes:
        """The signed envelope as it lies in `trust/root/N.json`."""
        return envelope.sign(ROOT_TYPE, self.payload(), *keys).to_bytes()


def parse_payload(data: bytes) -> Root:
    """A Root from the very bytes that were verified; raises Refused."""
    document = strict_json.parse_object(data)
    if document.get("_type") != "root":
        raise Refused("root-type")
    if not fields.text(document, "spec_version").startswith("1."):
        raise Refused("root-type", "spec_version")
    organization = document.get("x-towline-org")
    if not is_id(organization):
        raise Refused("wrong-org", "x-towline-org")
    keys = _keys(fields.mapping(document, "keys"))
    roles = fields.mapping(document, "roles")
    if set(roles) != set(_ROLES):
        raise Refused("root-type", "roles")
    return Root(
        version=fields.whole(document, "version", least=1),
        organization=str(organization),
        expires=times.from_rfc3339(document.get("expires")),
        root=_role(roles, "root", keys),
        release=_role(roles, "targets", keys),
        online=_role(roles, "timestamp", keys),
        is_development=document.get("x-towline-dev") is True,
    )


def _keys(documents: Mapping[str, Any]) -> dict[str, PublicKey]:
    keys = {keyid: PublicKey.parse(document) for keyid, document in documents.items()}
    if any(key.keyid != keyid for keyid, key in keys.items()):
        raise Refused("keyid-mismatch")
    # So one key under two ids is refused, too: a key has one id.
    return keys


def _role(roles: Mapping[str, Any], name: str, keys: Mapping[str, PublicKey]) -> Role:
    role = fields.mapping(roles, name)
    keyids: Sequence[str] = fields.texts(role, "keyids")
    if len(set(keyids)) != len(keyids) or any(keyid not in keys for keyid in keyids):
        raise Refused("keyid-mismatch", name)
    return Role(tuple(keys[keyid] for keyid in keyids), fields.whole(role, "threshold", least=1))


def trust_first(data: bytes, organization: str | None = None) -> Root:
    """A root that nothing vouches for but its own keys and whoever checked its hash.

    Raises Refused when it is not signed by its own threshold or is of another organization.
    """
    sealed = envelope.parse(data)
    root = parse_payload(sealed.payload)
    sealed.verify(ROOT_TYPE, root.root.keys, root.root.threshold)
    if organization is not None and root.organization != organization:
        raise Refused("wrong-org", root.organization)
    return root


def succeed(old: Root, data: bytes) -> Root:
    """The next root after `old`, by TUF's chain rule; raises Refused."""
    sealed = envelope.parse(data)
    payload = sealed.verify(ROOT_TYPE, old.root.keys, old.root.threshold)
    new = parse_payload(payload)
    sealed.verify(ROOT_TYPE, new.root.keys, new.root.threshold)
    if new.version != old.version + 1:
        raise Refused("root-version", f"{new.version} after {old.version}")
    if new.organization != old.organization:
        raise Refused("wrong-org", new.organization)
    return new


def walk(chain: Sequence[bytes], organization: str | None = None) -> tuple[Root, ...]:
    """Every root of a chain that begins with version 1; raises Refused."""
    found = [trust_first(chain[0], organization)]
    if found[0].version != 1:
        raise Refused("root-version", f"the chain begins with {found[0].version}")
    for data in chain[1:]:
        found.append(succeed(found[-1], data))
    return tuple(found)


def follow(chain: Sequence[bytes], organization: str | None = None) -> Root:
    """The newest root of a chain that begins with version 1; raises Refused."""
    return walk(chain, organization)[-1]
