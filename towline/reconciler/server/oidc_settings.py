"""What `towline serve` needs to know of an OpenID Connect provider: a TOML file of its own.

It stands apart from `towline.toml`, which git keeps: who may become an admin is not for a commit.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from towline.manifests.errors import nearest
from towline.reconciler.store.people import Role
from towline.schemas.problems import Place, Problem

CALLBACK = "/admin/edge/ota/sign-in/provider/back"
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_TEXTS = ("issuer", "client_id", "address", "client_secret_file", "groups_claim", "ca_file")
_NEEDED = ("issuer", "client_id", "address")


@dataclass(frozen=True, slots=True)
class OidcSettings:
    """The provider, this server as its client, and which groups have which role."""

    organization: str
    issuer: str
    client_id: str
    address: str
    """`https://host:port` under which browsers reach this server."""
    roles: Mapping[Role, frozenset[str]]
    """The provider's groups that have a role; one in several has the highest of them."""
    client_secret_file: Path | None = None
    groups_claim: str = "groups"
    ca_file: Path | None = None
    """The certificates, PEM, that alone vouch for the provider; None: those of the machine."""

    @property
    def redirect(self) -> str:
        """Where the provider sends the browser back to; it must be registered there."""
        return f"{self.address.rstrip('/')}{CALLBACK}"

    @property
    def host(self) -> str:
        """The provider, for people."""
        return urlsplit(self.issuer).hostname or self.issuer

    def role_of(self, groups: object) -> Role | None:
        """The highest role of somebody in these groups, as the ID token tells them."""
        told = groups if isinstance(groups, list) else [groups]
        given = {group for group in told if isinstance(group, str)}
        has = [role for role in Role if self.roles.get(role, frozenset()) & given]
        return has[-1] if has else None

    def may_call(self, url: str) -> bool:
        """True for what is safe on the way: https, or http on this machine."""
        return _is_safe(url)

    def secret(self) -> str:
        """The client's secret; empty for a public client. Raises Problem."""
        if self.client_secret_file is None:
            return ""
        try:
            return self.client_secret_file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise Problem(
                f"the client's secret cannot be read from {self.client_secret_file}: {error}",
                remedy="name its file with client_secret_file",
            ) from None


def load(file: Path, organization: str) -> OidcSettings:
    """The settings in a file; raises Problem."""
    place = Place(str(file))
    try:
        document = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise Problem(f"it cannot be read: {error.strerror}", place=place) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Problem(f"this is not TOML: {error}", place=place) from None
    roles = _roles(document.pop("roles", None), place)
    for key, value in document.items():
        if key not in _TEXTS:
            meant = nearest(key, _TEXTS)
            remedy = f"did you mean {meant}?" if meant else f"known are {', '.join(_TEXTS)}, roles"
            raise Problem(f"there is no setting {key}", remedy=remedy, place=place)
        if not isinstance(value, str) or not value:
            raise Problem(f"{key} must be text", remedy="put it in quotes", place=place)
    for key in _NEEDED:
        if key not in document:
            raise Problem(f"{key} is missing", place=place)
    for key in ("issuer", "address"):
        if not _is_safe(document[key]):
            raise Problem(f"{key} must begin with https://", place=place)
    for key in ("client_secret_file", "ca_file"):
        if key in document:
            document[key] = file.parent / Path(document[key]).expanduser()
    found = OidcSettings(organization=organization, roles=roles, **document)
    found.secret()
    return found


def _roles(told: Any, place: Place) -> dict[Role, frozenset[str]]:
    remedy = 'write [roles] and below it, as an example, operator = ["on-call"]'
    if not isinstance(told, dict) or not told:
        raise Problem("no group has a role", remedy=remedy, place=place)
    roles: dict[Role, frozenset[str]] = {}
    for word, groups in told.items():
        if word not in list(Role):
            raise Problem(f"{word} is no role: {', '.join(Role)}", place=place)
        if not isinstance(groups, list) or not all(isinstance(g, str) and g for g in groups):
            raise Problem(f"roles.{word} must be a list of groups", remedy=remedy, place=place)
        roles[Role(word)] = frozenset(groups)
    return roles


def _is_safe(url: str) -> bool:
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        return False
    is_here = parts.scheme == "http" and host in _LOOPBACK
    return bool(host) and (parts.scheme == "https" or is_here) and parts.username is None
