"""Checks a document against its shape and says what is wrong in words for people.

pydantic finds every error at once; here each becomes a Fault with a position, the path in the
document and what to write instead.
"""

from collections.abc import Callable
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from towline.manifests.errors import Fault, Location, Mark, nearest, path_text
from towline.manifests.shape_base import NOT_TEXT, NOT_YET, WRONG, Shape
from towline.manifests.shape_rollout import STRATEGY_KEYS
from towline.manifests.yaml_tree import Mapping, Node, Scalar, data_of, follow, spoken

_Shape = TypeVar("_Shape", bound=Shape)
_STRATEGY: Location = ("spec", "strategy")
_Words = tuple[str, str]
"""Message and remedy."""


def read_shape(shape: type[_Shape], root: Node) -> tuple[_Shape | None, list[Fault]]:
    """The document in its shape, or None; and all of its faults."""
    faults: list[Fault] = []
    data = data_of(root, faults)
    classes: dict[int, type[Shape]] = {}
    try:
        return shape.model_validate(data, context=classes), faults
    except ValidationError as error:
        found = [
            _fault(details, root, _class_at(data, _location(details), classes))
            for details in error.errors(include_url=False)
        ]
        return None, faults + found


def _location(details: ErrorDetails) -> Location:
    """Where pydantic found it, without the type of strategy that it puts behind `strategy`."""
    way: Location = (*details["loc"], *details.get("ctx", {}).get("at", ()))
    is_inside = way[: len(_STRATEGY)] == _STRATEGY and len(way) > len(_STRATEGY)
    return _STRATEGY + way[len(_STRATEGY) + 1 :] if is_inside else way


def _class_at(data: Any, location: Location, classes: dict[int, type[Shape]]) -> type[Shape] | None:
    """The class of the innermost mapping on the way to an error."""
    found = classes.get(id(data))
    for part in location:
        try:
            data = data[part]
        except (LookupError, TypeError):
            continue
        found = classes.get(id(data), found)
    return found


def _fault(details: ErrorDetails, root: Node, shape: type[Shape] | None) -> Fault:
    context = details.get("ctx", {})
    location = _location(details)
    way, node = follow(root, location)
    kind = details["type"]
    if kind == NOT_YET:
        return _not_yet(way, _mark(root, way, node), context["word"])
    if kind == WRONG:
        return Fault(way, node.mark, context["message"], context["remedy"])
    if kind == "missing":
        key = str(location[-1])
        return Fault((*way, key), node.mark, f"`{key}` is missing", f"add `{key}`")
    if kind == "extra_forbidden":
        message, remedy = _unknown_key(str(location[-1]), shape)
        return Fault(way, _mark(root, way, node), message, remedy)
    if kind == NOT_TEXT:
        return Fault(way, node.mark, *_not_text(node, context["what"]))
    words = _WORDS.get(kind, _by_pydantic)(details, node)
    return Fault(way, node.mark, *words)


def _mark(root: Node, way: Location, node: Node) -> Mark:
    """Where the key stands, for errors that are about the key."""
    if not way:
        return node.mark
    _, parent = follow(root, way[:-1])
    return parent.keys.get(str(way[-1]), node.mark) if isinstance(parent, Mapping) else node.mark


def _not_yet(way: Location, mark: Mark, word: str) -> Fault:
    message = f"not supported yet: {path_text(way)}{f' {word}' if word else ''}"
    keys = [str(part) for part in way if isinstance(part, str)]
    remedy = f"write another value for `{keys[-1]}`" if word else f"remove `{keys[-1]}` for now"
    return Fault(way, mark, message, remedy)


def _not_text(node: Node, what: str) -> _Words:
    message = f"{spoken(node)} stands where {what} belongs"
    if isinstance(node, Scalar):
        return message, f'write "{node.text}" in quotes'
    return message, f"write {what} as text"


def _unknown_key(key: str, shape: type[Shape] | None) -> _Words:
    known = shape.yaml_keys() if shape else ()
    message = f"`{key}` is not known here"
    if key in STRATEGY_KEYS and "type" in known:
        return message, f"`{key}` belongs to type {STRATEGY_KEYS[key]}; remove it or change `type`"
    meant = nearest(key, known)
    if meant:
        return message, f"write `{meant}`"
    return message, f"remove it; known here: {', '.join(known)}"


def _wants(what: str, remedy: str) -> Callable[[ErrorDetails, Node], _Words]:
    def words(details: ErrorDetails, node: Node) -> _Words:
        return f"{spoken(node)} stands where {what} belongs", remedy

    return words


def _one_of(details: ErrorDetails, node: Node) -> _Words:
    listed = details["ctx"].get("expected") or details["ctx"].get("expected_tags", "")
    choices = [word.strip().strip("'") for word in listed.replace(" or ", ", ").split(",")]
    meant = nearest(node.text, choices) if isinstance(node, Scalar) else None
    remedy = f"write {meant}" if meant else f"write one of {', '.join(choices)}"
    return f"{spoken(node)} is not known here", remedy


def _bounded(details: ErrorDetails, node: Node) -> _Words:
    context = details["ctx"]
    bound = f"at least {context['ge']}" if "ge" in context else f"at most {context['le']}"
    return f"{spoken(node)} is out of range", f"write {bound}"


def _long(details: ErrorDetails, node: Node) -> _Words:
    context = details["ctx"]
    if "min_length" in context:
        return "too few entries stand here", f"write at least {context['min_length']}"
    return "too many entries stand here", f"write at most {context['max_length']}"


def _by_pydantic(details: ErrorDetails, node: Node) -> _Words:
    return f"{spoken(node)} does not fit: {details['msg']}", "see the manual of the manifest"


_MAPPING = _wants("a mapping", "write `key: value` pairs, indented")
_WHOLE = _wants("a whole number", "write digits only, without quotes")
_WORDS: dict[str, Callable[[ErrorDetails, Node], _Words]] = {
    "bool_type": _wants("true or false", "write true or false, without quotes"),
    "dict_type": _MAPPING,
    "greater_than_equal": _bounded,
    "int_type": _WHOLE,
    "less_than_equal": _bounded,
    "list_type": _wants("a list", "write [A, B], or each entry on a line after -"),
    "literal_error": _one_of,
    "model_type": _MAPPING,
    "too_long": _long,
    "too_short": _long,
    "union_tag_invalid": _one_of,
    "union_tag_not_found": lambda details, node: ("`type` is missing", "add type: canary"),
}
