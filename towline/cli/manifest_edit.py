"""The manifest of a delivery: a new one, or an existing one with only the delivery changed.

An edit replaces the few words that change in the text itself, so that comments, order and spelling
of all the rest stay byte for byte and a pull request shows exactly what is new. Reads positions
with ruamel.yaml; whether the result is a good manifest is left to the loader.
"""

import json
import re
from dataclasses import dataclass

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import CollectionNode, MappingNode, Node, ScalarNode

from towline.schemas.problems import Place, Problem

_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9._+~-]*")
_DEFAULT_COMPONENT = "system"


@dataclass(frozen=True, slots=True)
class Delivery:
    """What a manifest is to deliver; the Deployment has the component's name."""

    component: str
    version: str
    url: str
    sha256: str
    """64 hex digits."""
    strategy: str | None = None
    """None: as it was, or canary in a new manifest."""


@dataclass(frozen=True, slots=True)
class _Edit:
    start: int
    end: int
    text: str


def new_manifest(delivery: Delivery) -> str:
    """A manifest for every device."""
    return f"""\
apiVersion: towline/v1
kind: Deployment
metadata:
  name: {_word(delivery.component)}
spec:
  component: {_word(delivery.component)}
  targetVersion: {json.dumps(delivery.version)}
  strategy: {delivery.strategy or "canary"}
  package:
    url: {_word(delivery.url)}  # a file name alone: from the server's /packages/
    checksum: sha256:{delivery.sha256}
  # Without filters it is for every device. For some only:
  # filters:
  #   device_type: raspberry_pi
  #   labels: {{region: eu}}
"""


def edited(text: str, delivery: Delivery, file: str) -> str:
    """The text with version, package and, if wanted, strategy of this delivery.

    Raises Problem when the Deployment is not there, delivers another component, or has several
    packages or addresses.
    """
    deployment = _deployment(text, delivery.component, file)
    spec = _value(deployment, "spec")
    package = _value(spec, "package")
    if not isinstance(spec, MappingNode) or not isinstance(package, MappingNode):
        raise _cannot(file, spec or deployment, "it has no `package` with `url` and `checksum`")
    _refuse_other_component(spec, delivery, file)
    edits = [
        _replaced(spec, "targetVersion", json.dumps(delivery.version), file),
        _replaced(package, "url", _word(delivery.url), file),
        _replaced(package, "checksum", f"sha256:{delivery.sha256}", file),
    ]
    if delivery.strategy is not None:
        edits.append(_strategy(spec, delivery.strategy))
    for edit in sorted(edits, key=lambda edit: -edit.start):
        text = text[: edit.start] + edit.text + text[edit.end :]
    return text


def _deployment(text: str, name: str, file: str) -> MappingNode:
    try:
        documents = list(YAML(typ="rt").compose_all(text))
    except YAMLError as error:
        raise Problem(
            f"it is not YAML: {str(error).splitlines()[0]}",
            remedy="mend it first: towline validate says what is wrong",
            place=Place(file),
        ) from None
    for document in documents:
        found = _value(_value(document, "metadata"), "name")
        if _text(_value(document, "kind")) == "Deployment" and _text(found) == name:
            assert isinstance(document, MappingNode)
            return document
    raise Problem(
        f"it holds no Deployment {name}",
        remedy="rename the file, or publish with --component of the Deployment in it",
        place=Place(file),
    )


def _refuse_other_component(spec: MappingNode, delivery: Delivery, file: str) -> None:
    component = _value(spec, "component")
    has = _text(component) if component else _DEFAULT_COMPONENT
    if has != delivery.component:
        raise _cannot(
            file,
            component or spec,
            f"it delivers the component {has}, and what is published is {delivery.component}",
            f"write `component: {delivery.component}`, or sign and edit by hand",
        )


def _replaced(parent: MappingNode, key: str, text: str, file: str) -> _Edit:
    node = _value(parent, key)
    if not isinstance(node, ScalarNode):
        raise _cannot(file, node or parent, f"`{key}` is missing there or is not one word")
    return _Edit(node.start_mark.index, node.end_mark.index, text)


def _strategy(spec: MappingNode, strategy: str) -> _Edit:
    """Replaces a strategy of any form; where there is none, it comes before the version."""
    for key, node in spec.value:
        if _text(key) == "strategy":
            return _Edit(key.end_mark.index, _end(node), f": {strategy}")
    at = next(key for key, _ in spec.value if _text(key) == "targetVersion").start_mark
    joint = ", " if spec.flow_style else "\n" + " " * at.column
    return _Edit(at.index, at.index, f"strategy: {strategy}{joint}")


def _end(node: Node) -> int:
    """Where a node's last word ends: the mark of a block lies behind blanks and comments."""
    if isinstance(node, CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return _end(last[1] if isinstance(last, tuple) else last)
    return int(node.end_mark.index)


def _value(node: Node | None, key: str) -> Node | None:
    if not isinstance(node, MappingNode):
        return None
    return next((value for name, value in node.value if _text(name) == key), None)


def _text(node: Node | None) -> str:
    return str(node.value) if isinstance(node, ScalarNode) else ""


def _word(text: str) -> str:
    """Plain where YAML reads that as text, else in quotes."""
    return text if _PLAIN.fullmatch(text) and text.lower() not in _WORDS else json.dumps(text)


_WORDS = frozenset({"yes", "no", "true", "false", "on", "off", "null", "y", "n"})
"""What YAML 1.1 does not read as text."""


def _cannot(
    file: str,
    node: Node,
    what: str,
    remedy: str = "edit it by hand: `towline release sign` prints what to paste",
) -> Problem:
    place = Place(file, node.start_mark.line + 1, node.start_mark.column + 1)
    return Problem(f"publish cannot edit this: {what}", remedy=remedy, place=place)
