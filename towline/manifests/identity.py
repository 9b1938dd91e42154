"""Whose a document is: told before its shape is checked, and also where that fails.

A broken manifest must never look like a removed one, so the kind and the name are looked for as
leniently as they can be, while everything else is strict.
"""

import re
from dataclasses import dataclass

from towline.manifests.errors import Fault, Mark, nearest
from towline.manifests.shape import API_VERSION, SHAPES
from towline.manifests.yaml_tree import Mapping, Node, Scalar, follow, shortened, spoken
from towline.schemas.identifiers import is_id

HOLDING_KINDS = frozenset({"DeviceGroup", "Freeze", "Policy"})
"""One that does not load holds the whole commit: others lean on it."""

_PREFIX = "towline/"
_HOLDING_LINE = re.compile(r"kind\s*:\s*[\"']?(DeviceGroup|Freeze|Policy)\b")
_ADD_API_VERSION = f"add apiVersion: {API_VERSION}"


@dataclass(frozen=True, slots=True)
class Identity:
    """What a document says it is."""

    kind: str | None
    """The nearest known kind; None when nothing is near."""
    name: str | None
    """None when there is no id at `metadata.name`."""
    faults: tuple[Fault, ...] = ()
    """In apiVersion and kind; with any of them the shape is not looked at."""

    @property
    def holds_commit(self) -> bool:
        """True when this document must load before anything of its commit counts."""
        return self.kind in HOLDING_KINDS


def identify(root: Node) -> Identity | None:
    """Kind and name of a manifest; None for a document that is not Towline's."""
    if not isinstance(root, Mapping):
        return None
    version, kind = _scalar(root, "apiVersion"), _scalar(root, "kind")
    if not _is_ours(root, version, kind):
        return None
    name = _name(root)
    faults = (*_version_faults(root, version), *_kind_faults(root, kind))
    return Identity(nearest(kind.text, SHAPES) if kind else None, name, faults)


def may_be_ours(data: bytes) -> bool:
    """True for a file that cannot be read but seems to hold manifests (in any Unicode form)."""
    return _PREFIX.encode() in data.replace(b"\0", b"")


def may_hold_commit(data: bytes) -> bool:
    """True for a file that cannot be read but seems to hold a DeviceGroup, Freeze or Policy."""
    text = data.replace(b"\0", b"").decode("utf-8", "replace")
    return _HOLDING_LINE.search(text) is not None


def _scalar(root: Mapping, key: str) -> Scalar | None:
    node = root.values.get(key)
    return node if isinstance(node, Scalar) else None


def _is_ours(root: Mapping, version: Scalar | None, kind: Scalar | None) -> bool:
    if version is None or version.value is None:
        has_body = "spec" in root.values or "metadata" in root.values
        return kind is not None and kind.text in SHAPES and has_body
    is_near = nearest(version.text, [API_VERSION], cutoff=0.8) is not None
    return version.text.startswith(_PREFIX) or is_near


def _name(root: Mapping) -> str | None:
    way, node = follow(root, ("metadata", "name"))
    is_there = len(way) == 2 and isinstance(node, Scalar) and is_id(node.value)
    return node.text if is_there and isinstance(node, Scalar) else None


def _version_faults(root: Mapping, version: Scalar | None) -> tuple[Fault, ...]:
    if version is None:
        mark = root.keys.get("kind", root.mark)
        return (Fault(("apiVersion",), mark, "`apiVersion` is missing", _ADD_API_VERSION),)
    if version.value == API_VERSION:
        return ()
    message = f"{spoken(version)} is no version of the manifest that is known"
    return (Fault(("apiVersion",), version.mark, message, f"write apiVersion: {API_VERSION}"),)


def _kind_faults(root: Mapping, kind: Scalar | None) -> tuple[Fault, ...]:
    if kind is None:
        mark = root.keys.get("kind", root.mark)
        listed = ", ".join(SHAPES)
        return (Fault(("kind",), mark, "`kind` is missing", f"add kind: one of {listed}"),)
    return () if kind.text in SHAPES else (_unknown_kind(kind.text, kind.mark),)


def _unknown_kind(text: str, mark: Mark) -> Fault:
    meant = nearest(text, SHAPES)
    remedy = f"write kind: {meant}" if meant else f"write one of {', '.join(SHAPES)}"
    return Fault(("kind",), mark, f"{shortened(text)} is no kind that is known", remedy)
