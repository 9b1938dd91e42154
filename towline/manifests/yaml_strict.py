"""YAML, strictly: bytes to trees whose every node knows its line and column.

Refuses duplicate keys, anchors, aliases, merge keys, tags and keys that are not text; values
that YAML 1.1 does not read as text stay visible as what they are. Reads the parser's events one
by one, so that depth is bounded before anything recurses. Knows nothing of manifests.
"""

from collections.abc import Iterator
from typing import Any, NoReturn

import yaml

from towline.manifests.errors import Fault, Location, Mark
from towline.manifests.yaml_tree import (
    Document,
    Mapping,
    Node,
    Scalar,
    Sequence,
    plain_value,
    spoken,
)

MAX_BYTES = 256 * 1024
MAX_DEPTH = 64
"""Mappings and lists inside each other."""

_TOO_DEEP = "exceeded maximum nesting depth"
"""libyaml's own words, where its limit comes before ours."""
_LOOK = "look at indentation, brackets and quotes on this line and before it"
_REMEDIES = {
    "did not find expected comment or line break": "put text that begins with > or | in quotes",
    "found character that cannot start any token": "indent with spaces, never with tabs, and put "
    "text that begins with @, ` or % in quotes",
    "mapping values are not allowed in this context": "put text with a colon in quotes, and check "
    "the indentation of this line",
}
_MERGE_KEY = "<<"
_START = Mark(1, 1)


class Unreadable(Exception):
    """A text in which no document can be told from another."""

    def __init__(self, mark: Mark, message: str, remedy: str) -> None:
        super().__init__(message)
        self.fault = Fault((), mark, message, remedy)


def read_documents(data: bytes) -> list[Document]:
    """Every document of a file, each with its own faults; raises Unreadable."""
    if len(data) > MAX_BYTES:
        raise Unreadable(
            _START,
            f"the file is larger than {MAX_BYTES // 1024} KiB",
            "split it into files of their own, one Deployment each",
        )
    builder = _Builder()
    for event in _events(_text(data)):
        builder.take(event)
    return builder.documents


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        before = data[: error.start]
        mark = Mark(before.count(b"\n") + 1, error.start - before.rfind(b"\n"))
        raise Unreadable(
            mark, f"byte 0x{data[error.start]:02x} is not UTF-8", "save the file as UTF-8"
        ) from None


def _events(text: str) -> Iterator[yaml.Event]:
    try:
        yield from yaml.parse(text, Loader=yaml.CSafeLoader)
    except yaml.MarkedYAMLError as error:
        _refuse_syntax(error)
    except yaml.YAMLError as error:
        raise Unreadable(
            _START,
            f"the file is not YAML: {str(error).splitlines()[0]}",
            "remove control characters from the file",
        ) from None


def _refuse_syntax(error: yaml.MarkedYAMLError) -> NoReturn:
    mark = _mark(error.problem_mark or error.context_mark)
    if error.problem == _TOO_DEEP:
        raise _too_deep(mark) from None
    words = ": ".join(part for part in (error.context, error.problem) if part)
    remedy = _REMEDIES.get(error.problem or "", _LOOK)
    raise Unreadable(mark, f"the file is not YAML: {words}", remedy) from None


def _too_deep(mark: Mark) -> Unreadable:
    return Unreadable(
        mark,
        f"more than {MAX_DEPTH} mappings and lists lie inside each other",
        "write the manifest flatter; no key needs such depth",
    )


def _mark(mark: Any) -> Mark:
    """From the parser's mark, which counts from 0 (two classes without a common one)."""
    return Mark(mark.line + 1, mark.column + 1) if mark else _START


class _Builder:
    """Puts events together to trees; `_open` are the collections not yet closed."""

    def __init__(self) -> None:
        self.documents: list[Document] = []
        self._open: list[Mapping | Sequence] = []
        self._path: list[str | int | None] = []
        """For each open collection its place in its parent; None where it is dropped."""
        self._key: list[tuple[str | None, Mark] | None] = []
        """For each open mapping the key whose value comes next."""

    def take(self, event: yaml.Event) -> None:
        """One event of the parser. A document gets its root by its first node."""
        mark = _mark(event.start_mark)
        if isinstance(event, yaml.AliasEvent):
            self._add(Scalar(mark, f"*{event.anchor}", None), "an alias")
        elif isinstance(event, yaml.ScalarEvent):
            value = plain_value(event.value) if event.implicit[0] else event.value
            self._add(Scalar(mark, event.value, value), _decoration(event))
        elif isinstance(event, yaml.MappingStartEvent):
            self._enter(Mapping(mark), _decoration(event))
        elif isinstance(event, yaml.SequenceStartEvent):
            self._enter(Sequence(mark), _decoration(event))
        elif isinstance(event, yaml.CollectionEndEvent):
            self._open.pop()
            self._path.pop()
            self._key.pop()
        elif isinstance(event, yaml.DocumentStartEvent):
            self.documents.append(Document(Scalar(mark, "", None)))

    def _enter(self, node: Mapping | Sequence, decoration: str) -> None:
        if len(self._open) >= MAX_DEPTH:
            raise _too_deep(node.mark)
        place = self._add(node, decoration)
        self._open.append(node)
        self._path.append(place)
        self._key.append(None)

    def _add(self, node: Node, decoration: str) -> str | int | None:
        """Hang a node into the collection that is open; returns its place in it."""
        place = self._place(node)
        if decoration:
            self._fault(place, node.mark, f"{decoration} is not allowed", _PLAINLY[decoration])
        return place

    def _place(self, node: Node) -> str | int | None:
        if not self._open:
            self.documents[-1].root = node
            return None
        parent = self._open[-1]
        if isinstance(parent, Sequence):
            parent.items.append(node)
            return len(parent.items) - 1
        pending = self._key[-1]
        if pending is None:
            self._key[-1] = self._read_key(parent, node)
            return None
        self._key[-1] = None
        key, mark = pending
        if key is not None:
            parent.values[key] = node
            parent.keys[key] = mark
        return key

    def _read_key(self, parent: Mapping, node: Node) -> tuple[str | None, Mark]:
        """The key that a node stands for; None when its value is to be dropped."""
        if not isinstance(node, Scalar):
            self._fault(None, node.mark, "a key must be text", "write one word before the colon")
            return None, node.mark
        key = node.text
        if key == _MERGE_KEY and not isinstance(node.value, str):
            self._fault(None, node.mark, "a merge key is not allowed", _PLAINLY["an alias"])
            return None, node.mark
        if key in parent.values:
            first = parent.keys[key]
            self._fault(
                key,
                node.mark,
                f"`{key}` stands here twice, first in line {first.line}",
                "remove one of the two",
            )
            return None, node.mark
        if not isinstance(node.value, str):
            remedy = f'write "{key}" in quotes'
            self._fault(key, node.mark, f"{spoken(node)} is no key", remedy)
        return key, node.mark

    def _fault(self, place: str | int | None, mark: Mark, message: str, remedy: str) -> None:
        location: Location = tuple(part for part in [*self._path, place] if part is not None)
        self.documents[-1].faults.append(Fault(location, mark, message, remedy))


_PLAINLY = {
    "an alias": "write the value out where it is used",
    "an anchor": "remove the word after &, and write the value out where it is used",
    "a tag": "remove the word after !, and put text in quotes",
}


def _decoration(event: yaml.ScalarEvent | yaml.CollectionStartEvent) -> str:
    if event.anchor is not None:
        return "an anchor"
    return "a tag" if event.tag is not None else ""
