"""The shape of an analysis: a figure asked over HTTP between batches, and what it must be."""

import re
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import Field

from towline.manifests.shape_base import Shape, Words, wrong
from towline.manifests.shape_words import Name, Timeout, said, text_of

_EXPECTATION = re.compile(r"(<=|>=|==|!=|<|>) *(-?[0-9]{1,30}(?:\.[0-9]{1,30})?)")
_VALUE_PATH = re.compile(r"[^\s.]+(?:\.[^\s.]+)*")
_MAX_URL = 2048


def _expectation(value: Any) -> tuple[str, str]:
    """`< 0.01` -> the comparison and the bound, the bound as it is written."""
    text = text_of(value, "what the figure must be")
    found = _EXPECTATION.fullmatch(text.strip())
    if found is None:
        remedy = 'write one of < <= > >= == != and a number: "< 0.01"'
        raise wrong(f"{said(text)} compares with no number", remedy)
    return found[1], found[2]


def _url(value: Any) -> str:
    """An http or https address; plain http is allowed, as the figure is no code."""
    text = text_of(value, "an address")
    if not _is_http(text):
        remedy = (
            "write http:// or https://, a host and a path, with %20 for a space and no password"
        )
        raise wrong(f"{said(text)} is no http address", remedy)
    return text


def _is_http(text: str) -> bool:
    try:
        parts = urlsplit(text)
        is_port_fine = parts.port is None or parts.port > 0
    except ValueError:
        return False
    return (
        parts.scheme in ("http", "https")
        and bool(parts.hostname)
        and is_port_fine
        and "@" not in parts.netloc
        and not parts.fragment
        and len(text) <= _MAX_URL
        and all("!" <= char <= "~" for char in text)
    )


def _value_path(value: Any) -> str:
    text = text_of(value, "the place of a figure")
    if len(text) > 255 or _VALUE_PATH.fullmatch(text) is None:
        remedy = "write keys and indexes joined by dots: data.result.0.value.1"
        raise wrong(f"{said(text)} is no place in a JSON answer", remedy)
    return text


class QuestionShape(Shape):
    """Where a figure is asked, and where it stands in the answer."""

    url: Annotated[str, Words(_url, {"type": "string", "pattern": "^https?://"})]
    value: Annotated[
        str, Words(_value_path, {"type": "string", "pattern": f"^{_VALUE_PATH.pattern}$"})
    ]


class AnalysisShape(Shape):
    """A figure that must hold between batches."""

    name: Name
    http: QuestionShape
    pass_: Annotated[
        tuple[str, str],
        Words(_expectation, {"type": "string", "pattern": f"^{_EXPECTATION.pattern}$"}),
    ] = Field(alias="pass")
    interval: Timeout = 300
    count: Annotated[int, Field(ge=1, le=1000)] = 3


def unique_questions(entries: list[AnalysisShape]) -> list[AnalysisShape]:
    """Refuses two of one name: holds and events tell them apart by it."""
    names = [entry.name for entry in entries]
    for at, name in enumerate(names):
        if name in names[:at]:
            remedy = "give each a name of its own"
            raise wrong(f"two analyses have the name {name}", remedy, (at, "name"))
    return entries
