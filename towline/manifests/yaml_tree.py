"""The tree of one YAML document: nodes with their positions, and what plain words mean.

A plain word is read as YAML 1.1 reads it (`2.10` a number, `no` a truth value, `2026-12-20` a
date), because that is what other tools make of it; where text is wanted, that is an error.
"""

import re
from dataclasses import dataclass, field
from typing import Any

import yaml

from towline.manifests.errors import Fault, Location, Mark

_WHOLE_NUMBER = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,17})")
_TRUE = frozenset({"yes", "true", "on"})
_PREFIX = "tag:yaml.org,2002:"
_RESOLVERS: dict[str | None, list[tuple[str, re.Pattern[str]]]] = (
    yaml.SafeLoader.yaml_implicit_resolvers
)


@dataclass(frozen=True, slots=True)
class Plain:
    """A plain word that YAML reads as neither text, whole number, truth value nor nothing."""

    text: str
    kind: str
    """YAML's word: float, int (one not written in plain digits), timestamp, value, merge."""


@dataclass(slots=True)
class Scalar:
    """One word; `value` is str, int, bool, None or Plain."""

    mark: Mark
    text: str
    value: Any


@dataclass(slots=True)
class Sequence:
    """A list."""

    mark: Mark
    items: list["Node"] = field(default_factory=list)


@dataclass(slots=True)
class Mapping:
    """Keys and values; `keys` has the positions of the keys."""

    mark: Mark
    values: dict[str, "Node"] = field(default_factory=dict)
    keys: dict[str, Mark] = field(default_factory=dict)


Node = Scalar | Sequence | Mapping


@dataclass(slots=True)
class Document:
    """One document of a file and what is wrong with it as YAML."""

    root: Node
    faults: list[Fault] = field(default_factory=list)


def plain_value(text: str) -> Any:
    """What an unquoted word means."""
    kind = _kind(text)
    if kind == "str":
        return text
    if kind == "null":
        return None
    if kind == "bool":
        return text.lower() in _TRUE
    if kind == "int" and _WHOLE_NUMBER.fullmatch(text):
        return int(text)
    return Plain(text, kind)


def _kind(text: str) -> str:
    for tag, pattern in _RESOLVERS.get(text[:1], []):
        if pattern.match(text):
            return tag.removeprefix(_PREFIX)
    return "str"


def spoken(node: Node) -> str:
    """What stands at a node, for a message."""
    if isinstance(node, Sequence):
        return "a list"
    if isinstance(node, Mapping):
        return "a mapping"
    if node.value is None:
        return "nothing"
    if isinstance(node.value, bool):
        return f"the truth value {node.text}"
    if isinstance(node.value, Plain) and node.value.kind == "timestamp":
        return f"the date {node.text}"
    if isinstance(node.value, str):
        return f'the text "{shortened(node.text)}"'
    return f"the number {shortened(node.text)}"


def shortened(text: str, limit: int = 60) -> str:
    """At most `limit` characters of a text, on one line."""
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def data_of(node: Node, faults: list[Fault], location: Location = ()) -> Any:
    """The tree as plain dicts, lists and values.

    A key with nothing behind it is left out and becomes a fault: no key of a manifest means
    something when it is empty.
    """
    if isinstance(node, Scalar):
        return node.value
    if isinstance(node, Sequence):
        return [data_of(item, faults, (*location, at)) for at, item in enumerate(node.items)]
    data = {}
    for key, value in node.values.items():
        if isinstance(value, Scalar) and value.value is None:
            faults.append(
                Fault(
                    (*location, key),
                    node.keys[key],
                    f"nothing stands behind `{key}`",
                    "give it a value or remove the key",
                )
            )
        else:
            data[key] = data_of(value, faults, (*location, key))
    return data


def follow(root: Node, location: Location) -> tuple[Location, Node]:
    """The deepest node on the way to a location, and the way that exists.

    Steps that the tree lacks are left out: a short form is checked in its long form.
    """
    way: list[str | int] = []
    node = root
    for part in location:
        if isinstance(node, Mapping) and part in node.values:
            node = node.values[str(part)]
        elif isinstance(node, Sequence) and isinstance(part, int) and part < len(node.items):
            node = node.items[part]
        else:
            continue
        way.append(part)
    return tuple(way), node


def fault_at(root: Node, location: Location, message: str, remedy: str) -> Fault:
    """A fault at the deepest node that there is on the way to a location."""
    way, node = follow(root, location)
    return Fault(way, node.mark, message, remedy)
