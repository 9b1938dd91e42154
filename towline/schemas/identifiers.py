"""The grammar of ids and the UUIDs that are made from them.

An id is checked in full before any look-up and never becomes part of a path by itself.
"""

import hashlib
import re
import unicodedata
from uuid import UUID, uuid5

ID_GRAMMAR = r"[a-z0-9][a-z0-9._-]{0,62}"
_ID = re.compile(ID_GRAMMAR)
_NAMESPACE = UUID("6f0f1c1e-6b8a-5d0c-9f5e-3f3b7a3f2d11")
"""Fixed for ever: every UUID of Towline is UUIDv5 in this namespace."""


def is_id(text: object) -> bool:
    """True when `text` is a whole id: of a device, component, Deployment or organization."""
    return isinstance(text, str) and _ID.fullmatch(text) is not None


def slug_of(title: str) -> str:
    """The id nearest to a title, the same at every call: `Firmware Über v2` -> `firmware-uber-v2`.

    What does not fit, or has no letter that an id may have, ends in the beginning of its digest.
    """
    plain = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode().lower()
    slug = re.sub(r"[^a-z0-9._]+", "-", plain).strip("-._")
    digest = hashlib.sha256(title.encode()).hexdigest()[:8]
    if not slug:
        return f"deployment-{digest}"
    return slug if is_id(slug) else f"{slug[:54].rstrip('-._')}-{digest}"


def device_uuid(organization: str, device: str) -> UUID:
    """`edge_devices.id`: for SQL only; everywhere else the slug is the id."""
    return uuid5(_NAMESPACE, f"device/{organization}/{device}")


def run_uuid(organization: str, deployment: str, revision: str, turn: int) -> UUID:
    """The API's `deployment_id`: one run of a revision."""
    return uuid5(_NAMESPACE, f"{organization}/{deployment}/{revision}/{turn}")


def organization_uuid(organization: str) -> UUID:
    """`organization_id` in SQL and in the contract's JSON."""
    return uuid5(_NAMESPACE, f"organization/{organization}")


def author_uuid(address: str) -> UUID:
    """`created_by` in SQL: made of the author's address."""
    return uuid5(_NAMESPACE, f"author/{address}")
