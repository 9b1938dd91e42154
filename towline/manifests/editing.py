"""Keys of a Deployment set or removed in the text of its file, all the rest byte for byte.

Only the words of what changes are replaced, so that comments, order and spelling stay and a pull
request shows exactly what is new. What came out is read again: where it does not say what was
wanted, nothing is changed and a person edits by hand.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import CollectionNode, MappingNode, Node, ScalarNode

from towline.schemas.problems import Place, Problem

Way = tuple[str, ...]
"""Keys from the document's root to a value, such as `("spec", "filters", "labels")`."""
Entry = tuple[ScalarNode, Node]

_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9._+~-]*")
_NOT_TEXT = frozenset({"yes", "no", "true", "false", "on", "off", "null", "y", "n"})
"""What YAML 1.1 does not read as text."""
_BY_HAND = "edit it by hand"


def edited(text: str, name: str, changes: Mapping[Way, Any], file: str) -> str:
    """The text with these values of the Deployment `name`; None removes a key.

    Raises Problem where the Deployment is not there or the text does not let itself be edited.
    """
    wanted = _documents(text, file)
    document = next((each for each in wanted if _is_deployment(each, name)), None)
    if document is None:
        raise Problem(f"it holds no Deployment {name}", remedy=_BY_HAND, place=Place(file))
    made = text
    for way, value in changes.items():
        _set(document, way, value)
        made = _changed(made, name, way, value)
    try:
        is_as_wanted = _documents(made, file) == wanted
    except Problem:
        is_as_wanted = False
    if not is_as_wanted:
        keys = ", ".join(".".join(way) for way in changes)
        raise Problem(f"{keys} cannot be changed there", remedy=_BY_HAND, place=Place(file))
    return made


def _documents(text: str, file: str) -> list[Any]:
    try:
        return list(YAML(typ="safe").load_all(text))
    except YAMLError as error:
        gist = str(error).splitlines()[0]
        raise Problem(
            f"it is not YAML: {gist}",
            remedy="towline validate says what is wrong",
            place=Place(file),
        ) from None


def _is_deployment(document: Any, name: str) -> bool:
    if not isinstance(document, dict) or document.get("kind") != "Deployment":
        return False
    metadata = document.get("metadata")
    return isinstance(metadata, dict) and metadata.get("name") == name


def _set(document: Any, way: Way, value: Any) -> None:
    *above, key = way
    for each in above:
        if not isinstance(document.get(each), dict):
            if value is None:
                return
            document[each] = {}
        document = document[each]
    if value is None:
        document.pop(key, None)
    else:
        document[key] = value


def _changed(text: str, name: str, way: Way, value: Any) -> str:
    """One key set or removed; what cannot be done is seen by whoever reads the outcome."""
    parent, rest = _deepest(text, name, way)
    found = _entry(parent, rest[0])
    if value is None:
        return text if found is None or len(rest) > 1 else _without(text, parent, found)
    for key in reversed(rest[1:]):
        value = {key: value}
    if found is None:
        return _with(text, parent, rest[0], value)
    return _replaced(text, found, value)


def _deepest(text: str, name: str, way: Way) -> tuple[MappingNode, Way]:
    """The innermost mapping on the way that is there, and the keys that lead on from it."""
    node = next(each for each in YAML(typ="rt").compose_all(text) if _names(each, name))
    for depth in range(len(way) - 1):
        found = _entry(node, way[depth])
        if found is None or not isinstance(found[1], MappingNode):
            return node, way[depth:]
        node = found[1]
    return node, way[-1:]


def _names(node: Node, name: str) -> bool:
    kind, metadata = _entry(node, "kind"), _entry(node, "metadata")
    found = _entry(metadata[1], "name") if metadata else None
    return bool(kind and kind[1].value == "Deployment" and found and found[1].value == name)


def _entry(node: Node, key: str) -> Entry | None:
    if not isinstance(node, MappingNode):
        return None
    return next((entry for entry in node.value if entry[0].value == key), None)


def _replaced(text: str, entry: Entry, value: Any) -> str:
    key, node = entry
    start, end = node.start_mark.index, _end(text, node)
    behind = text.index(":", key.end_mark.index) + 1
    if end <= start:  # an empty value: its mark may lie anywhere before the next key
        return f"{text[:behind]} {_flow(value)}{text[behind:]}"
    if isinstance(node, CollectionNode) and not node.flow_style:  # it begins on the next line
        return f"{text[:behind]} {_flow(value)}{text[end:]}"
    return text[:start] + _flow(value) + text[end:]


def _without(text: str, parent: MappingNode, entry: Entry) -> str:
    key, node = entry
    start, end = key.start_mark.index, max(key.end_mark.index, _end(text, node))
    if not parent.flow_style:
        start = text.rfind("\n", 0, start) + 1
        line = text.find("\n", end)
        return text[:start] + ("" if line < 0 else text[line + 1 :])
    after = re.match(r"\s*,\s*", text[end:])
    if after:
        return text[:start] + text[end + after.end() :]
    before = re.search(r"\s*,\s*$", text[:start])
    return (text[: before.start()] if before else text[:start]) + text[end:]


def _with(text: str, parent: MappingNode, key: str, value: Any) -> str:
    """Behind the last entry of the mapping."""
    words = f"{_word(key)}: {_flow(value)}"
    if parent.flow_style:
        end = len(text[: parent.end_mark.index - 1].rstrip())
        joint = ", " if parent.value else ""
        return text[:end] + joint + words + text[parent.end_mark.index - 1 :]
    last = _end(text, parent)
    line = text.find("\n", last)
    at = len(text) if line < 0 else line
    indent = " " * parent.value[0][0].start_mark.column
    return f"{text[:at]}\n{indent}{words}{text[at:]}"


def _end(text: str, node: Node) -> int:
    """Where a node's last word ends: the mark of a block lies behind blanks and comments."""
    if isinstance(node, CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return _end(text, last[1] if isinstance(last, tuple) else last)
    start, end = node.start_mark.index, node.end_mark.index
    return int(start) + len(text[start:end].rstrip())


def _flow(value: Any) -> str:
    """A value in one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_word(k)}: {_flow(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_flow, value)) + "]"
    return _word(value) if isinstance(value, str) else json.dumps(value)


def _word(text: str) -> str:
    """Plain where YAML reads that as text, else in quotes."""
    is_plain = _PLAIN.fullmatch(text) and text.lower() not in _NOT_TEXT
    return text if is_plain else json.dumps(text, ensure_ascii=False)
